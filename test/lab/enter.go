package lab

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// spaces names the namespaces of a host by the files that stand for them; an empty name means: stay in the machine's.
type spaces struct{ net, uts, pid, mnt string }

// do runs fn on a thread of its own inside the namespaces. The thread is never unlocked, so it ends with fn and no other goroutine ever
// runs in the wrong namespace. A process namespace applies to the processes that fn starts, not to the thread.
func (s spaces) do(fn func() error) error {
	return onThreadOfItsOwn(func() error {
		if err := s.enter(); err != nil {
			return err
		}
		return fn()
	})
}

// onThreadOfItsOwn runs fn on a thread that ends with it. That can't be the process's first one: Go parks it instead of ending it, so
// that the process would stay in the namespace for good and be seen there, since /proc/PID shows the first thread's.
func onThreadOfItsOwn(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// While this goroutine holds the first thread, the next one gets another.
			defer runtime.UnlockOSThread()
			done <- onThreadOfItsOwn(fn)
			return
		}
		done <- fn()
	}()
	return <-done
}

// enter opens all namespaces before it changes the first one: the names are paths of the machine.
func (s spaces) enter() error {
	wanted := []struct {
		path string
		kind int
	}{{s.net, unix.CLONE_NEWNET}, {s.uts, unix.CLONE_NEWUTS}, {s.pid, unix.CLONE_NEWPID}, {s.mnt, unix.CLONE_NEWNS}}
	files := make([]*os.File, len(wanted))
	for i, w := range wanted {
		if w.path == "" {
			continue
		}
		file, err := os.Open(w.path)
		if err != nil {
			return fmt.Errorf("cannot enter the host: %w", err)
		}
		defer file.Close()
		files[i] = file
	}
	// A thread can change its mount namespace only when it shares its root and working folder with no other.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("cannot enter the host: unshare: %w", err)
	}
	for i, w := range wanted {
		if files[i] == nil {
			continue
		}
		if err := unix.Setns(int(files[i].Fd()), w.kind); err != nil {
			return fmt.Errorf("cannot enter the host: setns %s: %w", w.path, err)
		}
	}
	return nil
}
