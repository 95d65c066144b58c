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

// probeTimeout bounds one probe.
const probeTimeout = 3 * time.Second

// errNoPing says that the kernel lets this process open no ICMP socket.
var errNoPing = errors.New("ICMP is not available: net.ipv4.ping_group_range does not include this process")

// connectTCP opens and closes a connection that leaves by the NIC.
func connectTCP(ctx context.Context, plan Plan, target netip.AddrPort) error {
	dialer := net.Dialer{
		Timeout:   probeTimeout,
		KeepAlive: -1,
		LocalAddr: &net.TCPAddr{IP: plan.Source.AsSlice()},
		Control: func(_, _ string, c syscall.RawConn) error {
			var bindErr error
			err := c.Control(func(fd uintptr) { bindErr = unix.BindToDevice(int(fd), plan.NIC) })
			return errors.Join(err, bindErr)
		},
	}
	conn, err := dialer.DialContext(ctx, "tcp4", target.String())
	if err != nil {
		return plainly(err)
	}
	return conn.Close()
}

// echo sends one ICMP echo request from a ping socket (icmp(7)), which needs no
// capability, and waits for the answer.
func echo(ctx context.Context, plan Plan, target netip.Addr) error {
	conn, err := pingSocket(plan, target)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if err := conn.SetDeadline(time.Now().Add(probeTimeout)); err != nil {
		return err
	}
	request := echoRequest(1)
	if _, err := conn.Write(request); err != nil {
		return plainly(err)
	}
	answer := make([]byte, 512)
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

// pingSocket is bound to NIC and source and connected to the target, so that the
// kernel delivers the target's answers and errors only.
func pingSocket(plan Plan, target netip.Addr) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_ICMP)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EPROTONOSUPPORT) {
		return nil, errNoPing
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open an ICMP socket: %w", err)
	}
	err = unix.BindToDevice(fd, plan.NIC)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: plan.Source.As4()})
	}
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet4{Addr: target.As4()})
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "icmp"), nil
}

// echoRequest is an ICMP message (RFC 792); the kernel fills in identifier and
// checksum of ping sockets.
func echoRequest(sequence uint16) []byte {
	message := make([]byte, 8, 64)
	message[0] = 8 // echo
	binary.BigEndian.PutUint16(message[6:], sequence)
	return append(message, "hybrid-agent path probe"...)
}

func isEchoReply(message []byte, sequence uint16) bool {
	return len(message) >= 8 && message[0] == 0 && message[1] == 0 && binary.BigEndian.Uint16(message[6:]) == sequence
}

// plainly strips addresses and operations that the result names already.
func plainly(err error) error {
	var errno syscall.Errno
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer within %s", probeTimeout)
	case errors.As(err, &errno):
		return errno
	}
	return err
}
