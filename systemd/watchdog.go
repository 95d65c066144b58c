package systemd

import (
	"context"
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// WatchdogInterval returns the time within which systemd expects a sign of
// life (WatchdogSec= of the unit); 0 when it expects none.
func WatchdogInterval() (time.Duration, error) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return 0, fmt.Errorf("cannot read WATCHDOG_USEC: %w", err)
	}
	return interval, nil
}

// Watchdog is the task that tells systemd that the process is alive, as long
// as the process judges itself alive.
type Watchdog struct {
	interval time.Duration
	healthy  func() error
	notify   func(...string) error
	ready    chan struct{}
}

// NewWatchdog returns the task. The interval is that of WatchdogInterval; 0
// makes a task that only waits. healthy is asked before each sign of life: its
// error ends the task, and with the task the process, so that systemd restarts
// it; nil means always healthy.
func NewWatchdog(interval time.Duration, healthy func() error) *Watchdog {
	if healthy == nil {
		healthy = func() error { return nil }
	}
	return &Watchdog{interval: interval, healthy: healthy, notify: Notify, ready: make(chan struct{})}
}

// String names the task.
func (w *Watchdog) String() string { return "watchdog" }

// Ready is closed as soon as the task runs.
func (w *Watchdog) Ready() <-chan struct{} { return w.ready }

// Run feeds the watchdog until the context ends; then it returns nil.
func (w *Watchdog) Run(ctx context.Context) error {
	close(w.ready)
	if w.interval <= 0 {
		<-ctx.Done()
		return nil
	}
	// Half the interval is what sd_watchdog_enabled(3) recommends.
	ticker := time.NewTicker(w.interval / 2)
	defer ticker.Stop()
	for {
		if err := w.healthy(); err != nil {
			return fmt.Errorf("cannot report health to the watchdog: %w", err)
		}
		if err := w.notify(alive); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
