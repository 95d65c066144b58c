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

// runTasks runs all tasks and calls whenReady once each of them is ready. It
// returns the first error, with the task's name; nil when ctx ended.
func runTasks(ctx context.Context, tasks []Task, whenReady func() error) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, task := range tasks {
		group.Go(func() error {
			err := task.Run(ctx)
			switch {
			case err != nil:
				return fmt.Errorf("%s: %w", task, err)
			case ctx.Err() == nil:
				return fmt.Errorf("%s: ended by itself", task)
			}
			return nil
		})
	}
	group.Go(func() error {
		for _, task := range tasks {
			select {
			case <-task.Ready():
			case <-ctx.Done():
				return nil
			}
		}
		return whenReady()
	})
	return group.Wait()
}
