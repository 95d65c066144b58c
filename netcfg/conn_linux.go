package netcfg

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// sendBatch is how many requests go into one send. Were all refused, the answers
// would have to fit into the default receive buffer: the kernel answers before the
// send returns.
const sendBatch = 100

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

// writeRoutes sends one request of that kind for each route and returns the
// kernel's verdict on each.
func (c *requestConn) writeRoutes(kind, flags uint16, routes []Route) []error {
	return c.write(len(routes), func(b []byte, i int, seq uint32) []byte {
		return appendRoute(b, kind, flags|flagRequest, seq, routes[i])
	})
}

// writeRules is writeRoutes for rules.
func (c *requestConn) writeRules(kind, flags uint16, rules []Rule) []error {
	return c.write(len(rules), func(b []byte, i int, seq uint32) []byte {
		return appendRule(b, kind, flags|flagRequest, seq, rules[i])
	})
}

// writeRoute is writeRoutes for a single route, without allocations.
func (c *requestConn) writeRoute(kind, flags uint16, r Route) error {
	var errs [1]error
	c.batch(errs[:], 0, func(b []byte, _ int, seq uint32) []byte {
		return appendRoute(b, kind, flags|flagRequest, seq, r)
	})
	return errs[0]
}

// write sends n requests that encode appends.
func (c *requestConn) write(n int, encode func(b []byte, i int, seq uint32) []byte) []error {
	errs := make([]error, n)
	for start := 0; start < n; start += sendBatch {
		c.batch(errs[start:min(start+sendBatch, n)], start, encode)
	}
	return errs
}

// batch sends one request per element of errs, all at once, and fills errs. The
// kernel answers in order, and without being asked where it refuses: consent to the
// last request says that all others were met as well.
func (c *requestConn) batch(errs []error, start int, encode func(b []byte, i int, seq uint32) []byte) {
	first := c.seq + 1
	c.seq += uint32(len(errs))
	c.out = c.out[:0]
	last := 0
	for i := range errs {
		last = len(c.out)
		c.out = encode(c.out, start+i, first+uint32(i))
		errs[i] = nil
	}
	flags := c.out[last+6:]
	binary.NativeEndian.PutUint16(flags, binary.NativeEndian.Uint16(flags)|flagAck)
	err := c.send()
	for done := false; err == nil && !done; {
		err = c.receive(func(m message) bool {
			if i := m.seq - first; m.kind == nlmsgError && i < uint32(len(errs)) {
				errs[i] = parseAck(m)
				done = m.seq == c.seq
			}
			return true
		})
	}
	if err != nil {
		for i := range errs {
			errs[i] = err
		}
	}
}

func (c *requestConn) send() error {
	if err := unix.Send(c.fd, c.out, 0); err != nil {
		return fmt.Errorf("cannot send to rtnetlink: %w", err)
	}
	return nil
}

// dumpRoutes hands one table's routes of one protocol, or all (0), to each. It
// calls begin before each try: what came before counts no more.
func (c *requestConn) dumpRoutes(table int, protocol uint8, begin func(), each func(Route)) error {
	keep := func(r Route) {
		if r.Table == table && (protocol == 0 || r.Protocol == protocol) {
			each(r)
		}
	}
	err := c.dump(func() {
		begin()
		c.out = appendDump(c.out[:0], c.seq, table, protocol)
	}, func(m message) error {
		if m.kind != rtmNewRoute {
			return nil
		}
		_, err := parseRoute(m.body, keep)
		return err
	})
	if errors.Is(err, unix.ENOENT) {
		return nil // the table does not exist as long as nobody writes to it
	}
	if err != nil {
		return fmt.Errorf("cannot list routes: %w", err)
	}
	return nil
}

// dumpRules lists all IPv4 rules.
func (c *requestConn) dumpRules() ([]Rule, error) {
	var rules []Rule
	err := c.dump(func() {
		rules = rules[:0]
		c.out = appendRuleDump(c.out[:0], c.seq)
	}, func(m message) error {
		if m.kind != rtmNewRule {
			return nil
		}
		r, ok, err := parseRule(m.body)
		if ok {
			rules = append(rules, r)
		}
		return err
	})
	if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil // a kernel without policy routing; writing a rule will say so
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list policy rules: %w", err)
	}
	return rules, nil
}

// dump sends the request that ask writes and hands every answer to each; again
// where the kernel says that its table changed meanwhile.
func (c *requestConn) dump(ask func(), each func(message) error) error {
	for try := 1; ; try++ {
		c.seq++
		ask()
		interrupted, err := c.dumpOnce(each)
		if err != nil || !interrupted || try == dumpTries {
			return err
		}
	}
}

func (c *requestConn) dumpOnce(each func(message) error) (interrupted bool, err error) {
	if err := c.send(); err != nil {
		return false, err
	}
	var failure error
	for done := false; !done; {
		err := c.receive(func(m message) bool {
			if m.seq != c.seq {
				return true
			}
			interrupted = interrupted || m.flags&flagDumpIntr != 0
			switch m.kind {
			case nlmsgError:
				failure, done = parseAck(m), true
			case nlmsgDone:
				done = true
			default:
				failure = errors.Join(failure, each(m))
			}
			return true
		})
		if err != nil {
			return false, err
		}
	}
	return interrupted, failure
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
