//go:build systemd

package systemd

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"hybridagent/test/lab"
	"hybridagent/test/lab/actors"
)

// neighbour is a host on which somebody else manages the NICs.
type neighbour struct {
	name     string
	suite    string
	packages []string
	// bare says that the host may never become a node: it gets no nodeadm.
	bare bool
	// configure writes the neighbour's own configuration on the host's disk.
	configure func(w *world)
	// check runs once the host is in the pool and has its route.
	check func(w *world)
}

// secondServer is the VPN server that is asked should the first fail. Nobody has its address: it is probed, by a policy rule, and never used.
const secondServer = "10.200.0.9"

// runNeighbours boots all hosts at once in one site with one plane, takes them into one pool, and then runs their checks side by side.
func runNeighbours(t *testing.T, hosts []neighbour) {
	shared := newSite(t, len(hosts))
	shared.programs()
	shared.surround()
	dhcp, err := shared.site.StartDHCP(shared.ctx)
	shared.must(err)
	for n := range hosts {
		shared.must(dhcp.Lease(shared.ctx, lab.LANMAC(n+1), netip.MustParseAddr(lab.LANAddress(n+1))))
	}
	shared.dhcp = dhcp
	token, err := shared.operator.Token(shared.ctx, len(hosts))
	shared.must(err)
	worlds := make([]*world, len(hosts))
	for i, h := range hosts {
		worlds[i] = shared.beside(i+1, h, token)
	}
	shared.together(worlds, func(w *world) error { return w.machine.Boot(w.ctx) })
	members := make([]actors.PoolMember, len(hosts))
	for i, w := range worlds {
		members[i] = actors.PoolMember{HostID: w.enrolled(), HostName: w.machine.Host.Name, NIC: "lan0", VPNServer: lab.VPNServer + ", " + secondServer}
	}
	yaml, err := actors.PoolYAML(strings.ToUpper(runtime.GOARCH), members)
	shared.must(err)
	shared.must(shared.operator.Apply(shared.ctx, "pool.yaml", yaml))
	t.Run("hosts", func(t *testing.T) {
		for i, h := range hosts {
			t.Run(h.name, func(t *testing.T) {
				t.Parallel()
				w := *worlds[i]
				w.t = t
				t.Cleanup(func() {
					if t.Failed() {
						w.logTails()
					}
				})
				w.until("the route", time.Minute, w.route)
				if !h.bare {
					w.until("a Ready node", time.Minute, w.holds("NodeReady"))
				}
				h.check(&w)
			})
		}
	})
}

// beside makes the nth host of the site, configured and off.
func (w *world) beside(n int, h neighbour, token string) *world {
	w.t.Helper()
	own := *w
	own.machine = w.newMachine(n, h.suite, h.packages...)
	own.machine.Bare = true
	own.install()
	if h.bare {
		own.aws = nil
	}
	own.configure(w.plane.CAPin, token)
	h.configure(&own)
	return &own
}

// together does the same to all hosts at once.
func (w *world) together(worlds []*world, do func(w *world) error) {
	w.t.Helper()
	errs := make([]error, len(worlds))
	var group sync.WaitGroup
	for i, own := range worlds {
		group.Go(func() {
			if err := do(own); err != nil {
				errs[i] = fmt.Errorf("%s: %w", own.machine.Host.Name, err)
			}
		})
	}
	group.Wait()
	w.must(errors.Join(errs...))
}
