package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/credentials"
)

// peer is who is at the other end, as the kernel recorded it when the connection
// was made (SO_PEERCRED and SO_PEERGROUPS, unix(7)).
type peer struct {
	credentials.CommonAuthInfo
	uid    uint32
	pid    int32
	groups []uint32
}

// AuthType is part of credentials.AuthInfo.
func (peer) AuthType() string { return "peercred" }

func (p peer) isRoot() bool { return p.uid == 0 }

func (p peer) inGroup(gid uint32) bool { return slices.Contains(p.groups, gid) }

// peerCredentials identifies clients; it neither encrypts nor asks for anything.
type peerCredentials struct{}

// ClientHandshake is part of credentials.TransportCredentials; servers only.
func (peerCredentials) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("peer credentials are the server's")
}

// ServerHandshake asks the kernel who the client is.
func (peerCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	who, err := identify(conn)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot tell who connected: %w", err)
	}
	return conn, who, nil
}

// Info is part of credentials.TransportCredentials.
func (peerCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "peercred"}
}

// Clone is part of credentials.TransportCredentials.
func (c peerCredentials) Clone() credentials.TransportCredentials { return c }

// OverrideServerName is part of credentials.TransportCredentials.
func (peerCredentials) OverrideServerName(string) error { return nil }

func identify(conn net.Conn) (peer, error) {
	for {
		if _, isUnix := conn.(*net.UnixConn); isUnix {
			break
		}
		wrapped, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return peer{}, fmt.Errorf("%T is no unix socket", conn)
		}
		conn = wrapped.NetConn()
	}
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return peer{}, err
	}
	var who peer
	var sysErr error
	err = raw.Control(func(fd uintptr) { who, sysErr = peerOf(int(fd)) })
	return who, errors.Join(err, sysErr)
}

func peerOf(fd int) (peer, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return peer{}, fmt.Errorf("SO_PEERCRED: %w", err)
	}
	who := peer{uid: cred.Uid, pid: cred.Pid, groups: []uint32{cred.Gid}}
	more, err := peerGroups(fd)
	if err != nil {
		return peer{}, fmt.Errorf("SO_PEERGROUPS: %w", err)
	}
	who.groups = append(who.groups, more...)
	return who, nil
}

// peerGroups reads the supplementary groups; the kernel says how many there are
// when the buffer is too small (ERANGE).
func peerGroups(fd int) ([]uint32, error) {
	groups := make([]uint32, 64)
	for {
		size := uint32(len(groups) * 4)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == 0:
			return groups[:size/4], nil
		case errno == unix.ERANGE && int(size/4) > len(groups) && size/4 <= 65536: // NGROUPS_MAX
			groups = make([]uint32, size/4)
		default:
			return nil, errno
		}
	}
}
