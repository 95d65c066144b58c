//go:build systemd

package systemd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"hybridagent/test/lab"
)

// dhcpNeighbour is the check of a host whose address in the LAN comes by DHCP.
func (w *world) dhcpNeighbour() {
	w.renewed()
	w.survivesRestarts()
	w.renumbered(w.replug)
	w.leaseLost()
	w.must(w.machine.PowerCut(w.ctx))
	w.must(w.machine.Boot(w.ctx))
	w.until("the route after a boot by DHCP", 30*time.Second, w.routeFrom(lab.LANAddress(w.machine.Number)))
	w.until("a sound network after a boot by DHCP", 30*time.Second, w.holds("NICSelected", "RoutesInstalled"))
}

// renewed renews the lease of the same address: nothing of ours is touched.
func (w *world) renewed() {
	w.t.Helper()
	before, acks := w.repairs(), w.dhcp.Count(w.ack(lab.LANAddress(w.machine.Number)))
	w.onHost("networkctl", "renew", "lan0")
	w.until("the renewal", 20*time.Second, func(context.Context) error {
		if w.dhcp.Count(w.ack(lab.LANAddress(w.machine.Number))) == acks {
			return errors.New("the server has confirmed none")
		}
		return nil
	})
	w.must(w.route(w.ctx))
	if n := w.repairs() - before; n != 0 {
		w.t.Errorf("a renewal made %d repairs", n)
	}
}

// ack is dnsmasq's line for a confirmed lease of this host.
func (w *world) ack(address string) string {
	return fmt.Sprintf("DHCPACK(lan0) %s %s", address, lab.LANMAC(w.machine.Number))
}

// renumbered gives the host other addresses: one inside the remote node CIDRs is adopted, one outside alarms, and the first one mends all.
func (w *world) renumbered(renew func()) {
	w.t.Helper()
	own := lab.LANAddress(w.machine.Number)
	inside, outside := fmt.Sprintf("10.200.0.%d", 110+w.machine.Number), fmt.Sprintf("10.201.0.%d", 110+w.machine.Number)
	w.lease(inside, renew)
	w.until("the route from "+inside, 30*time.Second, w.routeFrom(inside))
	w.until("the adopted address", 20*time.Second, w.nodeIP(inside))

	w.lease(outside, renew)
	w.until("the alarm", 30*time.Second, func(ctx context.Context) error { return w.alarms(ctx, "OutsideRemoteNodeCIDRs", outside) })

	w.lease(own, renew)
	w.until("the route from "+own, 30*time.Second, w.routeFrom(own))
	w.until("the first address", 20*time.Second, w.nodeIP(own))
}

// leaseLost takes the address away, and gives it again.
func (w *world) leaseLost() {
	w.t.Helper()
	mac := lab.LANMAC(w.machine.Number)
	w.must(w.dhcp.Lease(w.ctx, mac, netip.Addr{}))
	w.replug()
	w.until("the alarm", 30*time.Second, func(ctx context.Context) error {
		return w.alarms(ctx, "NICNoAddress", "no global unicast IPv4 address")
	})
	w.lease(lab.LANAddress(w.machine.Number), w.replug)
	w.until("the route after the lease's return", 30*time.Second, w.route)
	w.until("a sound network", 20*time.Second, w.holds("NICSelected", "RoutesInstalled"))
}

// lease makes the server give that address and the host ask for it.
func (w *world) lease(address string, renew func()) {
	w.t.Helper()
	w.must(w.dhcp.Lease(w.ctx, lab.LANMAC(w.machine.Number), netip.MustParseAddr(address)))
	renew()
}

// replug pulls the cable and puts it back once the host has noticed: a client of DHCP then asks whether it may keep its address. (networkctl
// renew does not do: networkd does not hear the refusal of a renewal, which servers broadcast, and keeps the address until it rebinds.)
func (w *world) replug() {
	w.t.Helper()
	w.must(w.machine.Unplug(w.ctx))
	w.until("the loss of the carrier", 10*time.Second, func(ctx context.Context) error {
		out, err := w.machine.Host.Exec(ctx, "ip", "-4", "address", "show", "lan0")
		if err == nil && strings.Contains(out, "inet ") {
			return fmt.Errorf("lan0 still has its address: %s", out)
		}
		return err
	})
	w.must(w.machine.Plug(w.ctx))
}

func (w *world) routeFrom(source string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		if err := w.route(ctx); err != nil {
			return err
		}
		out, err := w.machine.Host.Exec(ctx, "ip", "route", "show", lab.VPCCIDR)
		if err != nil || strings.Contains(out, "src "+source+" ") {
			return err
		}
		return fmt.Errorf("kernel has %q", out)
	}
}

func (w *world) nodeIP(want string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		status, err := w.status(ctx)
		if err != nil {
			return err
		}
		if status.Network.NodeIP != want {
			return fmt.Errorf("node IP is %s", status.Network.NodeIP)
		}
		return errors.Join(status.Holds("NICSelected"), status.Holds("RoutesInstalled"))
	}
}

// alarms wants NICSelected false for that reason, in words that name the value.
func (w *world) alarms(ctx context.Context, reason, value string) error {
	status, err := w.status(ctx)
	if err != nil {
		return err
	}
	c, err := status.Condition("NICSelected")
	if err != nil {
		return err
	}
	if c.Status != "CONDITION_STATUS_FALSE" || c.Reason != reason || !strings.Contains(c.Message, value) {
		return fmt.Errorf("it is %s, %s: %s", c.Status, c.Reason, c.Message)
	}
	return nil
}
