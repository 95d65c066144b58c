package agent

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
)

// Task is one long-running part of the daemon.
type Task interface {
	// Run works until ctx ends and then returns nil; any error ends the daemon.
	Run(ctx context.Context) error
	// Ready is closed when the part has loaded what it needs and listens to what
	// it watches; it never waits for the network.
	Ready() <-chan struct{}
	// String names the part.
	String() string
}

// taskGroup runs tasks together: the first error ends them all.
type taskGroup struct {
	ctx    context.Context
	cancel context.CancelFunc
	group  *errgroup.Group
	tasks  []Task
}

func newTaskGroup(ctx context.Context) *taskGroup {
	ctx, cancel := context.WithCancel(ctx)
	group, ctx := errgroup.WithContext(ctx)
	return &taskGroup{ctx: ctx, cancel: cancel, group: group}
}

// start runs tasks at once.
func (g *taskGroup) start(tasks ...Task) {
	g.tasks = append(g.tasks, tasks...)
	for _, task := range tasks {
		g.group.Go(func() error {
			err := task.Run(g.ctx)
			switch {
			case err != nil:
				return fmt.Errorf("%s: %w", task, err)
			case g.ctx.Err() == nil:
				return fmt.Errorf("%s: ended by itself", task)
			}
			return nil
		})
	}
}

// wait calls whenReady once every task is ready, and returns when all have ended:
// the first error, with the task's name; nil when the context ended.
func (g *taskGroup) wait(whenReady func() error) error {
	defer g.cancel()
	g.group.Go(func() error {
		for _, task := range g.tasks {
			select {
			case <-task.Ready():
			case <-g.ctx.Done():
				return nil
			}
		}
		return whenReady()
	})
	return g.group.Wait()
}

// abandon ends the tasks that were started, because of an error elsewhere.
func (g *taskGroup) abandon(err error) error {
	g.cancel()
	_ = g.group.Wait() // the error that we have came first
	return err
}
