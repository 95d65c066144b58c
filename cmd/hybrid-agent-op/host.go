package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"go.uber.org/zap"

	"hybridagent/agent/config"
	"hybridagent/agent/hostid"
	"hybridagent/systemd"
)

// daemonUser is who may use the door beside root.
type daemonUser struct{ uid, gid int }

// allowed reports whether a peer may use the door; on a nil user only root may.
func (u *daemonUser) allowed(uid uint32) bool {
	return uid == 0 || u != nil && u.uid >= 0 && uid == uint32(u.uid)
}

// lookUser finds a user by name or number; nil where it does not exist.
func lookUser(name string) (*daemonUser, error) {
	if uid, err := strconv.Atoi(name); err == nil && uid >= 0 {
		return &daemonUser{uid: uid, gid: uid}, nil
	}
	found, err := user.Lookup(name)
	var unknown user.UnknownUserError
	if errors.As(err, &unknown) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot look up user %s: %w", name, err)
	}
	uid, uidErr := strconv.Atoi(found.Uid)
	gid, gidErr := strconv.Atoi(found.Gid)
	if err := errors.Join(uidErr, gidErr); err != nil {
		return nil, fmt.Errorf("cannot look up user %s: %w", name, err)
	}
	return &daemonUser{uid: uid, gid: gid}, nil
}

// prepareState makes root's state directory: the daemon reads the host ID in
// it, and changes nothing.
func prepareState(dir string, user *daemonUser) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("cannot make the state directory: %w", err)
	}
	if err := share(dir, user, 0o750); err != nil {
		return err
	}
	return nil
}

// share gives a path to root and the daemon's group.
func share(path string, user *daemonUser, mode fs.FileMode) error {
	gid := 0
	if user != nil {
		gid = user.gid
	}
	if err := os.Chown(path, 0, gid); err != nil {
		return fmt.Errorf("cannot give %s to root and group %d: %w", path, gid, err)
	}
	if err := os.Chmod(path, mode); err != nil {
		return fmt.Errorf("cannot set the mode of %s: %w", path, err)
	}
	return nil
}

// ensureHostID derives the host ID unless there is one, for the daemon to read.
func ensureHostID(log *zap.Logger, cfg config.Config, user *daemonUser) (string, error) {
	path := filepath.Join(cfg.Paths.OpState, hostid.FileName)
	var devices []hostid.DeviceUIDPath
	for _, device := range cfg.Host.DeviceUIDPaths {
		devices = append(devices, hostid.DeviceUIDPath{Name: device.Name, Regex: device.Regex})
	}
	id, err := hostid.Ensure(path, hostid.Options{
		Name: cfg.Host.Name, Prefix: cfg.Host.Prefix, DeviceUIDPaths: devices, Root: cfg.Paths.Root,
		Warn: func(err error) { log.Error("the host ID was damaged", zap.Error(err)) },
	})
	if err != nil {
		return "", err
	}
	return id.ID, share(path, user, 0o640)
}

// listen takes the socket that systemd passed, or makes one of its own with
// mode 0600 for the daemon's user.
func listen(ctx context.Context, path string, user *daemonUser, passed map[string][]net.Listener) (net.Listener, bool, error) {
	var all []net.Listener
	for _, listeners := range passed {
		all = append(all, listeners...)
	}
	switch len(all) {
	case 0:
	case 1:
		return all[0], true, nil
	default:
		return nil, false, fmt.Errorf("cannot serve %d sockets: hybrid-agent-op.socket must have one ListenStream", len(all))
	}
	if systemd.Running() {
		// systemd's own socket unit may hold the path; taking it away would break
		// the door for good.
		if _, err := os.Stat(path); err == nil {
			return nil, false, fmt.Errorf("cannot listen on %s: it exists; start hybrid-agent-op.socket instead of this program", path)
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, false, fmt.Errorf("cannot make the socket's directory: %w", err)
	}
	// The lock of the state directory is held: whoever made this is gone.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, false, fmt.Errorf("cannot remove an old socket: %w", err)
	}
	var settings net.ListenConfig
	listener, err := settings.Listen(ctx, "unix", path)
	if err != nil {
		return nil, false, fmt.Errorf("cannot listen on %s: %w", path, err)
	}
	owner := 0
	if user != nil {
		owner = user.uid
	}
	if err := errors.Join(os.Chmod(path, 0o600), os.Chown(path, owner, -1)); err != nil {
		return nil, false, errors.Join(fmt.Errorf("cannot give %s to its user: %w", path, err), listener.Close())
	}
	return listener, false, nil
}

// addresses lists the host's IPv4 addresses.
func addresses() ([]netip.Addr, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var found []netip.Addr
	for _, one := range all {
		if prefix, err := netip.ParsePrefix(one.String()); err == nil && prefix.Addr().Is4() {
			found = append(found, prefix.Addr())
		}
	}
	return found, nil
}
