package path

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// leaveBy binds a socket to the way's NIC and mark.
func leaveBy(fd int, way Way) error {
	if way.NIC != "" {
		if err := unix.BindToDevice(fd, way.NIC); err != nil {
			return fmt.Errorf("cannot bind the probe to %s: %w", way.NIC, err)
		}
	}
	if way.Mark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(way.Mark)); err != nil {
			return fmt.Errorf("cannot mark the probe with 0x%x: %w", way.Mark, err)
		}
	}
	return nil
}

// dial connects by the way; mss bounds the segments that the peer may send, 0: the
// route does.
func dial(ctx context.Context, way Way, target netip.AddrPort, mss int) (net.Conn, error) {
	dialer := net.Dialer{
		KeepAlive: -1,
		Control: func(_, _ string, c syscall.RawConn) error {
			var setErr error
			err := c.Control(func(fd uintptr) {
				setErr = leaveBy(int(fd), way)
				if setErr == nil && mss > 0 {
					setErr = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, mss)
				}
			})
			return errors.Join(err, setErr)
		},
	}
	if way.Source.IsValid() {
		dialer.LocalAddr = &net.TCPAddr{IP: way.Source.AsSlice()}
	}
	conn, err := dialer.DialContext(ctx, "tcp4", target.String())
	return conn, plainly(err)
}

// connectTCP opens and closes a connection.
func connectTCP(ctx context.Context, way Way, target netip.AddrPort) error {
	conn, err := dial(ctx, way, target, 0)
	if err != nil {
		return err
	}
	return conn.Close()
}

// echo sends one small ICMP echo request.
func echo(ctx context.Context, way Way, target netip.Addr) error {
	return exchange(ctx, way, target, smallPacket, false)
}

// sizedEcho sends one that must not be fragmented. IP_PMTUDISC_PROBE (ip(7)) sets
// DF and ignores what the kernel believes to be the path MTU, so that it can be
// measured anew.
func sizedEcho(ctx context.Context, way Way, target netip.Addr, size int) error {
	err := exchange(ctx, way, target, size, true)
	if errors.Is(err, unix.EMSGSIZE) {
		return ErrTooBig
	}
	return err
}

// exchange sends one echo request from a ping socket (icmp(7)), which needs no
// capability, and waits for the answer.
func exchange(ctx context.Context, way Way, target netip.Addr, size int, unfragmented bool) error {
	conn, err := pingSocket(way, target, unfragmented)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := conn.Write(echoRequest(1, size)); err != nil {
		return plainly(err)
	}
	answer := make([]byte, size)
	for {
		n, err := conn.Read(answer)
		if err != nil {
			return plainly(err)
		}
		if isEchoReply(answer[:n], 1) {
			return nil
		}
	}
}

// pingSocket is bound to the way and connected to the target, so that the kernel
// delivers the target's answers and errors only.
func pingSocket(way Way, target netip.Addr, unfragmented bool) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_ICMP)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EPROTONOSUPPORT) {
		return nil, errNoPing
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open an ICMP socket: %w", err)
	}
	err = leaveBy(fd, way)
	if err == nil && unfragmented {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
	}
	if err == nil && way.Source.IsValid() {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: way.Source.As4()})
	}
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet4{Addr: target.As4()})
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, plainly(err)
	}
	return os.NewFile(uintptr(fd), "icmp"), nil
}

// Bytes of the headers before an echo request's data: IPv4 without options
// (RFC 791) and ICMP (RFC 792).
const (
	ipHeader   = 20
	icmpHeader = 8
	// smallPacket is the size of an echo request whose size does not matter.
	smallPacket = 64
)

// echoRequest is an ICMP message (RFC 792) that fills an IP packet of size bytes;
// the kernel fills in identifier and checksum of ping sockets.
func echoRequest(sequence uint16, size int) []byte {
	message := make([]byte, max(size-ipHeader, icmpHeader))
	message[0] = 8 // echo
	binary.BigEndian.PutUint16(message[6:], sequence)
	copy(message[icmpHeader:], "hybrid-agent path probe")
	return message
}

func isEchoReply(message []byte, sequence uint16) bool {
	return len(message) >= icmpHeader && message[0] == 0 && message[1] == 0 && binary.BigEndian.Uint16(message[6:]) == sequence
}

// plainly strips addresses and operations that the result names already, and makes
// a deadline of the socket one of the probe's context.
func plainly(err error) error {
	var errno syscall.Errno
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	case errors.As(err, &errno):
		return errno
	}
	return err
}
