package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"hybridagent/test/lab"
	"hybridagent/test/lab/actors"
)

const (
	apiAddress = lab.EKSEndpoint + ":443"
	poll       = 50 * time.Millisecond
)

// otherPin is a well-formed pin of no CA.
const otherPin = "sha256:00000000000000000000000000000000000000000000000000000000000000ff"

// checkUnreachable shows that the edge hosts cannot reach the VPC by themselves.
func (d *demo) checkUnreachable(ctx context.Context) (string, error) {
	for n := 1; n <= 2; n++ {
		host := d.site.Host(lab.EdgeName(n))
		d.edges = append(d.edges, &actors.Edge{Host: host})
		err := host.Do(func() error {
			conn, err := (&net.Dialer{Timeout: 500 * time.Millisecond}).DialContext(ctx, "tcp4", apiAddress)
			if err == nil {
				_ = conn.Close()
			}
			return err
		})
		if err == nil {
			return "", fmt.Errorf("%s reaches %s without the agent", host.Name, apiAddress)
		}
	}
	route, err := d.edges[0].Host.Exec(ctx, "ip", "route", "get", lab.EKSEndpoint)
	if err != nil {
		return "", err
	}
	if !strings.Contains(route, "dev office0") {
		return "", fmt.Errorf("the wrong network does not hold the better default route: %s", route)
	}
	return fmt.Sprintf("no answer from %s on either edge host; the office network holds the better default route", apiAddress), nil
}

// checkEnrolled has the operator make cluster, profile and token, starts both programs on each edge host, and waits for the hosts.
func (d *demo) checkEnrolled(ctx context.Context) (string, error) {
	yaml, err := actors.ClusterYAML()
	if err != nil {
		return "", err
	}
	if err := d.operator.Apply(ctx, "cluster.yaml", yaml); err != nil {
		return "", err
	}
	token, err := d.operator.Token(ctx, len(d.edges))
	if err != nil {
		return "", err
	}
	d.say("operator: cluster %s and profile %s applied, enrolment token made", actors.ClusterName, actors.ProfileName)
	for _, edge := range d.edges {
		if err := d.startEdge(edge, token); err != nil {
			return "", err
		}
	}
	d.say("edge-1, edge-2: hybrid-agent started as an unprivileged user, hybrid-agent-op as root")
	err = lab.Until(ctx, "both hosts to enrol", poll, func(ctx context.Context) error {
		hosts, err := d.operator.Hosts(ctx)
		if err != nil {
			return err
		}
		for _, edge := range d.edges {
			host := hosts[edge.Host.Name]
			if !host.Status.Connected {
				return fmt.Errorf("%s is not connected; the end of its log:\n%s", edge.Host.Name, edge.Agent.Tail(3))
			}
			d.ids[edge.Host.Name] = host.Metadata.Name
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	for n := 1; n <= 2; n++ {
		name := lab.EdgeName(n)
		if uuid := lab.ProductUUID(d.site.Name, n); !strings.Contains(d.ids[name], uuid) {
			return "", fmt.Errorf("host ID %s of %s does not come from its SMBIOS UUID %s", d.ids[name], name, uuid)
		}
	}
	return fmt.Sprintf("%.13s... and %.13s... by token, CA pin and CSR; host IDs from the SMBIOS UUID", d.ids["edge-1"], d.ids["edge-2"]), nil
}

func (d *demo) startEdge(edge *actors.Edge, token string) error {
	standIn := actors.StandInConfig{Direct: true, TimeScale: 0.05}
	standIn.Kubelet.IgnoreNodeIP = d.sabotage == breakNodeIP
	if err := edge.Prepare(d.plane.CAPin, token, d.aws.Manifest, standIn); err != nil {
		return err
	}
	if d.sabotage == breakSignature {
		edge.OpConfig = "/etc/hybrid-agent/other-ca.yaml"
		if err := edge.Host.WriteFile(edge.OpConfig, []byte(actors.Config(otherPin, "")), 0o644, 0, 0); err != nil {
			return err
		}
	}
	return errors.Join(edge.StartOp(), edge.StartAgent())
}

// checkInventory shows that the operator can see each host's NICs, to choose one.
func (d *demo) checkInventory(ctx context.Context) (string, error) {
	var evidence []string
	err := lab.Until(ctx, "the inventory of both hosts", poll, func(ctx context.Context) error {
		evidence = nil
		hosts, err := d.operator.Hosts(ctx)
		if err != nil {
			return err
		}
		for n := 1; n <= 2; n++ {
			seen := make(map[string]string)
			for _, nic := range hosts[lab.EdgeName(n)].Status.Inventory.NICs {
				seen[nic.Name] = strings.Join(nic.Addresses, " ")
			}
			want := map[string]string{"lan0": lab.LANAddress(n) + "/24", "office0": lab.OfficeAddress(n) + "/24", "docker0": "172.17.0.1/16"}
			for nic, address := range want {
				if seen[nic] != address {
					return fmt.Errorf("%s reports %v; want %s with %s", lab.EdgeName(n), seen, nic, address)
				}
			}
			evidence = append(evidence, fmt.Sprintf("%s: lan0 %s, office0 %s, docker0", lab.EdgeName(n), seen["lan0"], seen["office0"]))
		}
		return nil
	})
	return strings.Join(evidence, "; "), err
}

// members are the pool's hosts, with that VPN server.
func (d *demo) members(vpn string) []actors.PoolMember {
	return []actors.PoolMember{
		{HostID: d.ids["edge-1"], HostName: "till-1", NIC: "auto", VPNServer: vpn},
		{HostID: d.ids["edge-2"], HostName: "till-2", NIC: "lan0", VPNServer: vpn},
	}
}

// checkNIC has the operator put both hosts into the pool, one with NIC auto and one by name, and waits for their choice.
func (d *demo) checkNIC(ctx context.Context) (string, error) {
	vpn := lab.VPNServer
	if d.sabotage == breakRoute {
		vpn = "10.200.99.9"
	}
	yaml, err := actors.PoolYAML(architecture(), d.members(vpn))
	if err != nil {
		return "", err
	}
	if err := d.operator.Apply(ctx, "pool.yaml", yaml); err != nil {
		return "", err
	}
	d.say("operator: pool %s applied: edge-1 with NIC auto, edge-2 with NIC lan0, VPN server %s", actors.PoolName, vpn)
	reason := ""
	for n, edge := range d.edges {
		err := lab.Until(ctx, "the NIC of "+edge.Host.Name, poll, func(ctx context.Context) error {
			status, err := edge.Status(ctx)
			if err != nil {
				return err
			}
			if status.Network.NIC != "lan0" || status.Network.NodeIP != lab.LANAddress(n+1) {
				return fmt.Errorf("chosen is %q with node IP %q; want lan0 with %s; refusals: %v",
					status.Network.NIC, status.Network.NodeIP, lab.LANAddress(n+1), status.Assignment.Refusals)
			}
			if n == 0 {
				reason = status.Network.NICReason
			}
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("edge-1 auto: lan0 %s (%s); edge-2 by name: lan0 %s", lab.LANAddress(1), reason, lab.LANAddress(2)), nil
}

// checkRoute reads the kernel, not the agent.
func (d *demo) checkRoute(ctx context.Context) (string, error) {
	var line string
	for n, edge := range d.edges {
		err := lab.Until(ctx, "the route on "+edge.Host.Name, poll, func(ctx context.Context) error {
			out, err := edge.Host.Exec(ctx, "ip", "route", "show", lab.VPCCIDR)
			if err != nil {
				return err
			}
			line = strings.TrimSpace(out)
			for _, want := range []string{"via " + lab.VPNServer, "dev lan0", "proto 104", "src " + lab.LANAddress(n+1)} {
				if !strings.Contains(line, want) {
					return d.whyNoRoute(ctx, edge, fmt.Errorf("kernel has %q; want %q in it", line, want))
				}
			}
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	return "both hosts; edge-2: " + strings.Join(strings.Fields(line), " "), nil
}

// whyNoRoute adds the agent's own word to what the kernel lacks.
func (d *demo) whyNoRoute(ctx context.Context, edge *actors.Edge, kernel error) error {
	status, err := edge.Status(ctx)
	if err != nil {
		return kernel
	}
	if err := status.Holds("RoutesInstalled"); err != nil {
		return fmt.Errorf("%w; %w", err, kernel)
	}
	return kernel
}

// checkPath shows that the probes go through the VPN server: its own counter says so.
func (d *demo) checkPath(ctx context.Context) (string, error) {
	for _, edge := range d.edges {
		if err := d.awaitCondition(ctx, edge, "PathHealthy"); err != nil {
			return "", err
		}
	}
	to, from, err := d.site.Forwarded(ctx)
	if err != nil {
		return "", err
	}
	if to == 0 || from == 0 {
		return "", fmt.Errorf("the VPN server forwarded %d packets to the VPC and %d back", to, from)
	}
	return fmt.Sprintf("probes answered on both hosts; the VPN server forwarded %d packets to the VPC, %d back", to, from), nil
}

// checkClock shows that the time server's answer reached the hosts.
func (d *demo) checkClock(ctx context.Context) (string, error) {
	offset := ""
	for _, edge := range d.edges {
		if err := d.awaitCondition(ctx, edge, "TimeSynced"); err != nil {
			return "", err
		}
		status, err := edge.Status(ctx)
		if err != nil {
			return "", err
		}
		answered := false
		for _, server := range status.TimeServers {
			answered = answered || server.OK
		}
		if !answered {
			return "", fmt.Errorf("%s calls its clock synced, but no time server answered it", edge.Host.Name)
		}
		offset = status.ClockOffset
	}
	return fmt.Sprintf("measured against chronyd at %s, offset %s", lab.NTPAddress, offset), nil
}

func (d *demo) awaitCondition(ctx context.Context, edge *actors.Edge, kind string) error {
	return lab.Until(ctx, kind+" on "+edge.Host.Name, poll, func(ctx context.Context) error {
		status, err := edge.Status(ctx)
		if err != nil {
			return err
		}
		return status.Holds(kind)
	})
}
