package lab

import (
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestNeverOnTheFirstThread: a first thread that entered a host would stay there
// for as long as the process lives.
func TestNeverOnTheFirstThread(t *testing.T) {
	var group sync.WaitGroup
	for range 500 {
		group.Go(func() {
			_ = onThreadOfItsOwn(func() error {
				if unix.Gettid() == unix.Getpid() {
					t.Error("ran on the process's first thread")
				}
				return nil
			})
		})
	}
	group.Wait()
}
