package systemd

import (
	"fmt"
	"net"

	"github.com/coreos/go-systemd/v22/activation"
)

// Listeners returns the sockets that systemd handed over (sd_listen_fds(3)) by
// the name of FileDescriptorName=, which defaults to the socket unit's name. It
// is empty when there are none. It may be called once per process: it removes
// the variables from the environment, so that children do not take the sockets
// for theirs.
func Listeners() (map[string][]net.Listener, error) {
	listeners, err := activation.ListenersWithNames()
	if err != nil {
		return nil, fmt.Errorf("cannot take over the sockets that systemd passed: %w", err)
	}
	return listeners, nil
}

// Listener returns the one socket with the given name and whether systemd
// passed it; it closes none of the others.
func Listener(listeners map[string][]net.Listener, name string) (net.Listener, bool) {
	found := listeners[name]
	if len(found) == 0 {
		return nil, false
	}
	return found[0], true
}
