package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// maxClients bounds open connections; the next one waits in the kernel's queue.
const maxClients = 32

// Listen makes the socket where systemd has not: mode 0660, so that the group of
// the daemon may read. A socket that nobody serves any more is replaced.
func Listen(ctx context.Context, path string) (net.Listener, error) {
	if conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path); err == nil {
		_ = conn.Close()
		return nil, fmt.Errorf("cannot listen on %s: another process serves it; stop that one first", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("cannot replace the stale socket %s: %w", path, err)
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w; does its folder exist and belong to the daemon?", path, err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		_ = listener.Close()
		return nil, fmt.Errorf("cannot set the mode of %s: %w", path, err)
	}
	return listener, nil
}

// groupOf returns the group that owns the socket file.
func groupOf(listener net.Listener) (uint32, bool) {
	info, err := os.Stat(listener.Addr().String())
	if err != nil {
		return 0, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return stat.Gid, true
}

// limited is a listener with a bound on open connections.
type limited struct {
	net.Listener
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once
}

func limit(listener net.Listener, most int) net.Listener {
	return &limited{Listener: listener, slots: make(chan struct{}, most), closed: make(chan struct{})}
}

// Accept waits for a free place before it takes a connection.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &counted{Conn: conn, release: sync.OnceFunc(func() { <-l.slots })}, nil
}

// Close ends a waiting Accept, too.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type counted struct {
	net.Conn
	release func()
}

// NetConn returns the connection below, for its credentials.
func (c *counted) NetConn() net.Conn { return c.Conn }

// Close gives the place back.
func (c *counted) Close() error {
	defer c.release()
	return c.Conn.Close()
}
