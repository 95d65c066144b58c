package runner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"

	"hybridagent/systemd"
)

// unitPrefix begins the names of all transient units of the agent.
const unitPrefix = "hybrid-agent-run-"

// stopPatience bounds how long systemd may take to end a unit; it kills after
// ten seconds itself.
const stopPatience = 30 * time.Second

// busPatience is how long systemd may be out of reach, for example while it
// executes itself anew in an upgrade.
const busPatience = 30 * time.Second

// unitManager is what Systemd needs of package systemd.
type unitManager interface {
	Start(ctx context.Context, unit systemd.TransientUnit) error
	Exit(ctx context.Context, name string) (systemd.UnitExit, bool, error)
	Remove(ctx context.Context, name string) error
	Close()
}

// Systemd runs programs as transient units: systemd keeps them and their exit
// codes while hybrid-agent-op is not there.
type Systemd struct {
	log  *zap.Logger
	dir  string
	open func(context.Context) (unitManager, error)
}

// NewSystemd returns a runner that keeps output below dir, which must be one
// that only root can write.
func NewSystemd(log *zap.Logger, dir string) (*Systemd, error) {
	if !systemd.Running() {
		return nil, fmt.Errorf("cannot use the runner systemd: %w; use --runner direct", systemd.ErrNotRunning)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the directory for output: %w", err)
	}
	open := func(ctx context.Context) (unitManager, error) {
		manager, err := systemd.OpenManager(ctx)
		if err != nil {
			return nil, err
		}
		return manager, nil
	}
	return &Systemd{log: log, dir: dir, open: open}, nil
}

// Name is systemd.
func (s *Systemd) Name() string { return "systemd" }

// Active reports whether the run's unit is there, ended or not.
func (s *Systemd) Active(ctx context.Context, id string) (bool, error) {
	manager, err := s.open(ctx)
	if err != nil {
		return false, err
	}
	defer manager.Close()
	_, _, err = manager.Exit(ctx, unitName(id))
	if errors.Is(err, systemd.ErrNoUnit) {
		return false, nil
	}
	return err == nil, err
}

// Stop is the Runner's.
func (s *Systemd) Stop(ctx context.Context, id string) error {
	return stopWhole(ctx, s.dir, id, s.stop)
}

func (s *Systemd) stop(ctx context.Context, id string) error {
	manager, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer manager.Close()
	if err := manager.Remove(ctx, unitName(id)); err != nil {
		return err
	}
	return removeOutput(outputPath(s.dir, id))
}

func unitName(id string) string { return unitPrefix + id + ".service" }

// Run is the Runner's. On cancellation the unit goes on.
func (s *Systemd) Run(ctx context.Context, command Command, onLine func(string)) (Result, error) {
	if err := stopOthers(ctx, s.dir, command.ID, s.stop); err != nil {
		return Result{}, err
	}
	manager, err := s.open(ctx)
	if err != nil {
		return Result{}, fmt.Errorf("cannot run %s: %w", command.Path, err)
	}
	defer func() { manager.Close() }()
	name := unitName(command.ID)
	out, err := s.attach(ctx, manager, name, command)
	if err != nil {
		return Result{}, fmt.Errorf("cannot run %s: %w", command.Path, err)
	}
	exit, err := s.wait(ctx, &manager, name, out, onLine)
	if err != nil && ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		// hybrid-agent-op is being stopped; its successor takes over.
		return Result{}, errors.Join(context.Cause(ctx), out.close())
	}
	late := errors.Is(ctx.Err(), context.DeadlineExceeded)
	removeErr := remove(ctx, manager, name)
	finishErr := out.finish(onLine, removeErr == nil)
	if late && err != nil {
		return Result{Code: -1, Signal: "SIGKILL", Deadline: true}, errors.Join(removeErr, finishErr)
	}
	if err != nil {
		return Result{}, errors.Join(fmt.Errorf("cannot follow %s: %w", command.Path, err), removeErr, finishErr)
	}
	return Result{Code: exit.Code, Signal: exit.Signal, Deadline: exit.Timeout}, errors.Join(removeErr, finishErr)
}

// remove ends a unit, also when the context is over.
func remove(ctx context.Context, manager unitManager, name string) error {
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
	defer cancel()
	return manager.Remove(stopping, name)
}

// attach takes over the run's unit, or starts it.
func (s *Systemd) attach(ctx context.Context, manager unitManager, name string, command Command) (*output, error) {
	_, _, err := manager.Exit(ctx, name)
	if err == nil {
		s.log.Info("attached to a unit that was under way", zap.String("unit", name), zap.String("op_id", command.OperationID))
		return openOutput(s.dir, command.ID)
	}
	if !errors.Is(err, systemd.ErrNoUnit) {
		return nil, err
	}
	out, err := createOutput(s.dir, command.ID)
	if err != nil {
		return nil, err
	}
	unit := systemd.TransientUnit{
		Name:        name,
		Description: "hybrid-agent operation " + command.OperationID + ": " + command.Path,
		Argv:        append([]string{command.Path}, command.Args...),
		Env:         command.Env,
		Output:      out.path,
		Fields:      map[string]string{"HYBRID_OPERATION_ID": command.OperationID},
	}
	if deadline, ok := ctx.Deadline(); ok {
		// A little later than our own, which reports better.
		unit.MaxRuntime = time.Until(deadline) + stopPatience
	}
	if err := manager.Start(ctx, unit); err != nil {
		// It may have been started all the same, and nobody heard of it.
		removeErr := remove(ctx, manager, name)
		return nil, errors.Join(err, removeErr, out.finish(func(string) {}, removeErr == nil))
	}
	return out, nil
}

// wait follows the output until the unit has ended; it connects anew when
// systemd is out of reach for a while.
func (s *Systemd) wait(ctx context.Context, manager *unitManager, name string, out *output, onLine func(string)) (systemd.UnitExit, error) {
	ticker := time.NewTicker(followInterval)
	defer ticker.Stop()
	lost := time.Time{}
	for {
		if err := out.read(onLine); err != nil {
			return systemd.UnitExit{}, err
		}
		exit, ended, err := (*manager).Exit(ctx, name)
		switch {
		case err == nil && ended:
			return exit, nil
		case err == nil:
			lost = time.Time{}
		case errors.Is(err, systemd.ErrNoUnit):
			return systemd.UnitExit{}, fmt.Errorf("unit %s was removed by somebody else: %w", name, err)
		case ctx.Err() != nil:
			return systemd.UnitExit{}, ctx.Err()
		case lost.IsZero():
			lost = time.Now()
		case time.Since(lost) > busPatience:
			return systemd.UnitExit{}, err
		}
		if err != nil {
			if fresh, openErr := s.open(ctx); openErr == nil {
				(*manager).Close()
				*manager = fresh
			}
		}
		select {
		case <-ctx.Done():
			return systemd.UnitExit{}, ctx.Err()
		case <-ticker.C:
		}
	}
}
