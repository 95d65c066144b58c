package agent

import (
	"fmt"
	"sync/atomic"
	"time"
)

// stuckAfter is how long a piece of the pipeline's work may take. It takes
// milliseconds; with a kernel or a disk that hardly answers, what it waits for ends
// by timeouts that are shorter.
const stuckAfter = 25 * time.Second

// work is one kind of the pipeline's work, for the watchdog: never two at a time.
type work struct {
	start time.Time    // of the counting: monotonic, and never zero
	since atomic.Int64 // when the work began that is being done, from start; 0: none is
}

// begin returns what ends the work.
func (w *work) begin() func() {
	w.since.Store(max(int64(time.Since(w.start)), 1))
	return func() { w.since.Store(0) }
}

// age is how long the work has been going on; 0 where there is none.
func (w *work) age() time.Duration {
	since := w.since.Load()
	if since == 0 {
		return 0
	}
	return time.Since(w.start) - time.Duration(since)
}

// moving fails when a pass, or an assignment on its way, does not come to its end:
// in the kernel, on the disk, or waiting for one that does not. It takes no lock.
func (c *core) moving() error {
	if age := c.passing.age(); age > stuckAfter {
		return fmt.Errorf("a pass of the pipeline has not ended for %s", age.Round(time.Second))
	}
	if age := c.taking.age(); age > stuckAfter {
		return fmt.Errorf("an assignment has not come into force for %s", age.Round(time.Second))
	}
	return nil
}
