package lifecycle

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"hybridagent/agent/operation/engine"
	"hybridagent/agent/operation/nodekey"
	"hybridagent/agent/operation/optest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// lateAddress takes the node IP from the host until its addresses were asked
// for so many times.
func (h *host) lateAddress(looks int) {
	all := h.options.Addresses
	h.options.Addresses = func() ([]netip.Addr, error) {
		looks--
		switch {
		case looks == 0:
			return nil, errors.New("netlink has no buffer")
		case looks > 0:
			return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
		}
		return all()
	}
}

// lateClock has the host's clock in 1970 until it was read so many times.
func (h *host) lateClock(looks int) {
	h.options.Keys = nodekey.New(h.root, optest.HostID, func() time.Time {
		if looks--; looks >= 0 {
			return time.Unix(1000, 0)
		}
		return time.Now()
	})
}

// TestWaitsForAddressAndClock is a host just after boot: what is not there yet
// is waited for, and said.
func TestWaitsForAddressAndClock(t *testing.T) {
	for _, c := range []struct {
		name     string
		change   func(*host)
		fragment string
	}{
		{"address", func(h *host) { h.lateAddress(2) }, "waiting: cannot use node IP 127.0.0.1: this host does not have it (it has [192.0.2.1])"},
		{"clock", func(h *host) { h.lateClock(2) }, "this host's clock says 1970-01-01T00:16:40Z; correct the clock"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t, "", "")
			c.change(h)
			p := &job{Options: h.options.withDefaults(), op: optest.Operation(1), spec: optest.NodeSpec(), nodeIP: "127.0.0.1"}
			var said []string
			if err := p.preflight(t.Context(), engine.Run{Say: func(text string) { said = append(said, text) }}); err != nil {
				t.Errorf("preflight = %v", err)
			}
			if !strings.Contains(strings.Join(said, "\n"), c.fragment) {
				t.Errorf("said %q, want %q", said, c.fragment)
			}
			c.change(h)
			wantState(t, h.provision(optest.Operation(1)), succeeded)
		})
	}
}

// TestWaitsUntilTheDeadline checks that what never comes ends the operation at
// its deadline and not before, with the reason.
func TestWaitsUntilTheDeadline(t *testing.T) {
	for _, c := range []struct {
		name     string
		change   func(*host, *agentv1.Operation)
		fragment string
	}{
		{"address", func(_ *host, op *agentv1.Operation) { op.NodeIp = "127.0.0.9" }, "this host does not have it"},
		{"clock", func(h *host, _ *agentv1.Operation) { h.lateClock(1 << 30) }, "correct the clock"},
		{"route", func(h *host, op *agentv1.Operation) {
			op.Node.VpnServers = []string{"10.200.0.2"}
			h.options.SourceToward = func(netip.Addr) (netip.Addr, error) { return netip.Addr{}, errors.New("network is unreachable") }
		}, "without the route to the VPC: network is unreachable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t, "", "")
			op := optest.Operation(1)
			op.Deadline = durationpb.New(time.Second)
			c.change(h, op)
			began := time.Now()
			wantState(t, h.provision(op), failed, c.fragment, "the operation's deadline of 1s has passed")
			if took := time.Since(began); took < 900*time.Millisecond {
				t.Errorf("gave up after %s", took)
			}
		})
	}
}

// TestWrongInputIsNotWaitedFor checks that a wait for the address does not hide
// what will never be right.
func TestWrongInputIsNotWaitedFor(t *testing.T) {
	h := newHost(t, "", "")
	h.lateAddress(1 << 30)
	op := optest.Operation(1)
	op.Node.RemoteNodeCidrs = []string{"10.0.0.0/8"}
	wantState(t, h.provision(op), failed, "in none of the remote node CIDRs")

	h = newHost(t, "", "")
	h.lateAddress(1 << 30)
	other := newHost(t, "", "")
	write(t, h.root+"/etc/iam/pki/server.pem", read(t, other.root+"/etc/iam/pki/server.pem"))
	wantState(t, h.provision(optest.Operation(1)), failed, "issued for another key")
}
