package door

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// peer is who is at the other end, as the kernel says (unix(7), SO_PEERCRED).
type peer struct {
	uid uint32
	pid int32
}

func peerOf(conn net.Conn) (peer, error) {
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return peer{}, fmt.Errorf("cannot read peer credentials of a %T", conn)
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return peer{}, fmt.Errorf("cannot read peer credentials: %w", err)
	}
	var credentials *unix.Ucred
	var readErr error
	err = raw.Control(func(fd uintptr) {
		credentials, readErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, readErr); err != nil {
		return peer{}, fmt.Errorf("cannot read peer credentials: %w", err)
	}
	return peer{uid: credentials.Uid, pid: credentials.Pid}, nil
}
