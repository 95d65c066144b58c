package systemd

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNotify(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := Notify(Ready); err != nil {
		t.Errorf("nobody listens: %v", err)
	}
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	t.Setenv("NOTIFY_SOCKET", path)
	if err := Notify(Ready, Status("two\nlines")); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 100)
	n, err := socket.Read(buffer)
	if err != nil || string(buffer[:n]) != "READY=1\nSTATUS=two lines" {
		t.Errorf("message = %q, %v", buffer[:n], err)
	}
	t.Setenv("NOTIFY_SOCKET", path+"-missing")
	if err := Notify(Ready); err == nil {
		t.Error("a socket that is not there takes a message")
	}
}

func TestWatchdog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent []string
		var sick atomic.Bool
		w := NewWatchdog(20*time.Second, func() error {
			if sick.Load() {
				return errors.New("stuck")
			}
			return nil
		})
		w.notify = func(states ...string) error { sent = append(sent, strings.Join(states, " ")); return nil }
		done := make(chan error, 1)
		go func() { done <- w.Run(t.Context()) }()
		<-w.Ready()
		time.Sleep(35 * time.Second)
		synctest.Wait()
		if strings.Join(sent, ",") != "WATCHDOG=1,WATCHDOG=1,WATCHDOG=1,WATCHDOG=1" {
			t.Errorf("sent %q in 35 s", sent)
		}
		sick.Store(true)
		if err := <-done; err == nil || !strings.Contains(err.Error(), "stuck") {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestWatchdogOff(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "")
	interval, err := WatchdogInterval()
	if err != nil || interval != 0 {
		t.Errorf("WatchdogInterval = %v, %v", interval, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := NewWatchdog(interval, nil).Run(ctx); err != nil {
		t.Errorf("Run = %v", err)
	}
	t.Setenv("WATCHDOG_USEC", "30000000")
	t.Setenv("WATCHDOG_PID", "")
	if interval, err := WatchdogInterval(); err != nil || interval != 30*time.Second {
		t.Errorf("WatchdogInterval = %v, %v", interval, err)
	}
	t.Setenv("WATCHDOG_USEC", "soon")
	if _, err := WatchdogInterval(); err == nil {
		t.Error("a bad WATCHDOG_USEC is accepted")
	}
}

func TestListeners(t *testing.T) {
	t.Setenv("LISTEN_PID", "1")
	t.Setenv("LISTEN_FDS", "1")
	listeners, err := Listeners()
	if err != nil || len(listeners) != 0 {
		t.Errorf("sockets of another process are taken: %v, %v", listeners, err)
	}
	if _, ok := Listener(nil, "x"); ok {
		t.Error("a listener out of nothing")
	}
}

func TestExitOf(t *testing.T) {
	for _, c := range []struct {
		code, status int32
		result       string
		want         UnitExit
	}{
		{1, 0, "success", UnitExit{}},
		{1, 2, "exit-code", UnitExit{Code: 2}},
		{2, 9, "signal", UnitExit{Code: -1, Signal: "SIGKILL"}},
		{2, 15, "timeout", UnitExit{Code: -1, Signal: "SIGTERM", Timeout: true}},
		{0, 0, "resources", UnitExit{Code: -1, Signal: "none (resources)"}},
	} {
		got := exitOf(map[string]any{"ExecMainCode": c.code, "ExecMainStatus": c.status, "Result": c.result})
		if got != c.want {
			t.Errorf("exitOf(%d, %d, %s) = %+v, want %+v", c.code, c.status, c.result, got, c.want)
		}
	}
}

func TestArgumentsAreNotExpanded(t *testing.T) {
	if got := strings.Join(escaped([]string{"/bin/x", "$HOME ${A} $$"}), " "); got != "/bin/x $$HOME $${A} $$$$" {
		t.Errorf("arguments = %q", got)
	}
}
