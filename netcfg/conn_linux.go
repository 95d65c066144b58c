package netcfg

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ackBatch is how many requests go into one send. Their ACKs must fit into the
// default receive buffer, since the kernel answers before the send returns.
const ackBatch = 100

// requestConn is an rtnetlink socket for requests. The kernel handles a request
// inside the send, so that the answer waits when the send returns: the socket
// blocks, and never for long. Not safe for concurrent use.
type requestConn struct {
	fd   int
	port uint32
	seq  uint32
	buf  []byte
	out  []byte
}

func dialRequest() (*requestConn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("cannot open rtnetlink socket: %w", err)
	}
	c := &requestConn{fd: fd, buf: make([]byte, 32<<10)}
	if err := c.setUp(); err != nil {
		c.close()
		return nil, fmt.Errorf("cannot set up rtnetlink socket: %w", err)
	}
	return c, nil
}

func (c *requestConn) setUp() error {
	// All three are optional: strict checking makes the kernel filter dumps, the
	// other two make errors short and give them words.
	_ = unix.SetsockoptInt(c.fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	_ = unix.SetsockoptInt(c.fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	_ = unix.SetsockoptInt(c.fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	if err := unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}); err != nil {
		return err
	}
	if err := unix.Bind(c.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	sa, err := unix.Getsockname(c.fd)
	if err != nil {
		return err
	}
	if nl, ok := sa.(*unix.SockaddrNetlink); ok {
		c.port = nl.Pid
	}
	return nil
}

func (c *requestConn) close() { _ = unix.Close(c.fd) }

// write sends one request of that kind for each route and returns the kernel's
// verdict on each.
func (c *requestConn) write(kind, flags uint16, routes []Route) []error {
	errs := make([]error, len(routes))
	for start := 0; start < len(routes); start += ackBatch {
		end := min(start+ackBatch, len(routes))
		c.writeBatch(kind, flags, routes[start:end], errs[start:end])
	}
	return errs
}

func (c *requestConn) writeBatch(kind, flags uint16, routes []Route, errs []error) {
	first := c.seq + 1
	c.out = c.out[:0]
	for i, r := range routes {
		c.out = appendRoute(c.out, kind, flags|flagRequest|flagAck, first+uint32(i), r)
	}
	c.seq += uint32(len(routes))
	fail := func(err error) {
		for i := range errs {
			errs[i] = err
		}
	}
	fail(errTruncated)
	if err := unix.Send(c.fd, c.out, 0); err != nil {
		fail(fmt.Errorf("cannot send to rtnetlink: %w", err))
		return
	}
	for pending := len(routes); pending > 0; {
		err := c.receive(func(m message) bool {
			if i := m.seq - first; m.kind == nlmsgError && i < uint32(len(errs)) {
				errs[i] = parseAck(m)
				pending--
			}
			return true
		})
		if err != nil {
			fail(err)
			return
		}
	}
}

// dumpRoutes lists the main table's routes of one protocol, or all (0).
func (c *requestConn) dumpRoutes(protocol uint8) ([]Route, error) {
	for try := 1; ; try++ {
		routes, interrupted, err := c.dumpOnce(protocol)
		if errors.Is(err, unix.ENOENT) {
			return nil, nil // a namespace without any route has no main table yet
		}
		if err != nil {
			return nil, fmt.Errorf("cannot list routes: %w", err)
		}
		if !interrupted || try == dumpTries {
			return routes, nil
		}
	}
}

func (c *requestConn) dumpOnce(protocol uint8) (routes []Route, interrupted bool, err error) {
	c.seq++
	c.out = appendDump(c.out[:0], c.seq, protocol)
	if err := unix.Send(c.fd, c.out, 0); err != nil {
		return nil, false, err
	}
	keep := func(r Route) {
		if r.Table == TableMain && (protocol == 0 || r.Protocol == protocol) {
			routes = append(routes, r)
		}
	}
	var failure error
	for done := false; !done; {
		err := c.receive(func(m message) bool {
			if m.seq != c.seq {
				return true
			}
			interrupted = interrupted || m.flags&flagDumpIntr != 0
			switch m.kind {
			case rtmNewRoute:
				_, perr := parseRoute(m.body, keep)
				failure = errors.Join(failure, perr)
			case nlmsgError:
				failure, done = parseAck(m), true
			case nlmsgDone:
				done = true
			}
			return true
		})
		if err != nil {
			return nil, false, err
		}
	}
	return routes, interrupted, failure
}

func (c *requestConn) receive(f func(message) bool) error {
	for {
		n, err := unix.Read(c.fd, c.buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("cannot read from rtnetlink: %w", err)
		}
		return eachMessage(c.buf[:n], f)
	}
}

// eventConn is an rtnetlink socket subscribed to link, IPv4 address and IPv4
// route events. It sits in Go's poller: an idle one wakes nobody, and a deadline
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

// dialEvents subscribes; events that the socket with the given port caused are left
// out.
func dialEvents(own uint32) (*eventConn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("cannot open rtnetlink event socket: %w", err)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, eventBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, eventBuffer)
	}
	// A kernel without the filter costs wake-ups, nothing else.
	_ = attachFilter(fd, own)
	const groups = 1<<(unix.RTNLGRP_LINK-1) | 1<<(unix.RTNLGRP_IPV4_IFADDR-1) | 1<<(unix.RTNLGRP_IPV4_ROUTE-1)
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

// writeOne is write for a single route, without allocations for the batch.
func (c *requestConn) writeOne(kind, flags uint16, r Route) error {
	var errs [1]error
	routes := [1]Route{r}
	c.writeBatch(kind, flags, routes[:], errs[:])
	return errs[0]
}
