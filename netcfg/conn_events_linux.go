package netcfg

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// eventConn is an rtnetlink socket subscribed to link events and those of IPv4
// addresses, routes and rules. It sits in Go's poller: an idle one wakes nobody, and a deadline
// ends a blocked read.
type eventConn struct {
	file *os.File
	buf  []byte
	n    int
	err  error
	read func(fd uintptr) bool
}

// eventBuffer is the receive buffer asked for: some 10,000 events. The kernel
// takes memory only for what is queued.
const eventBuffer = 8 << 20

// dialEvents subscribes with a receive buffer of that many bytes; events that the
// socket with the given port caused are left out.
func dialEvents(own uint32, buffer int) (*eventConn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("cannot open rtnetlink event socket: %w", err)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer)
	}
	// A kernel without the filter costs wake-ups, nothing else.
	_ = attachFilter(fd, own)
	const groups = 1<<(unix.RTNLGRP_LINK-1) | 1<<(unix.RTNLGRP_IPV4_IFADDR-1) |
		1<<(unix.RTNLGRP_IPV4_ROUTE-1) | 1<<(unix.RTNLGRP_IPV4_RULE-1)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("cannot subscribe to rtnetlink events: %w", err)
	}
	c := &eventConn{file: os.NewFile(uintptr(fd), "rtnetlink-events"), buf: make([]byte, 32<<10)}
	c.read = func(fd uintptr) bool {
		c.n, c.err = unix.Read(int(fd), c.buf)
		return !errors.Is(c.err, unix.EAGAIN)
	}
	return c, nil
}

// next returns the next datagram; it is valid until the following call. ENOBUFS
// says that the kernel dropped events.
func (c *eventConn) next() ([]byte, error) {
	raw, err := c.file.SyscallConn()
	if err != nil {
		return nil, err
	}
	for {
		if err := raw.Read(c.read); err != nil {
			return nil, err
		}
		if errors.Is(c.err, unix.EINTR) {
			continue
		}
		return c.buf[:max(c.n, 0)], c.err
	}
}

// interrupt ends a blocked next, now and for good.
func (c *eventConn) interrupt() { _ = c.file.SetReadDeadline(time.Unix(1, 0)) }

func (c *eventConn) close() { _ = c.file.Close() }
