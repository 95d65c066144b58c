package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"hybridagent/test/lab"
	"hybridagent/test/lab/actors"
)

// checkSignature shows that root took the plane's signed operation and refuses one that somebody else signed.
func (d *demo) checkSignature(ctx context.Context) (string, error) {
	for _, edge := range d.edges {
		err := lab.Until(ctx, edge.Host.Name+" to take the plane's operation", poll, func(ctx context.Context) error {
			status, err := edge.Status(ctx)
			if err != nil {
				return err
			}
			return taken(status)
		})
		if err != nil {
			return "", err
		}
	}
	said, err := d.forgeOn(ctx, d.edges[0])
	if err != nil {
		return "", err
	}
	return "the plane's operation was taken on both hosts; a forged one was refused: " + said, nil
}

// taken is nil when root has taken an operation; what becomes of it is the next row's matter.
func taken(status actors.Status) error {
	if c, err := status.Condition("OperationRunning"); err == nil && c.Reason == "Refused" {
		return lab.Final(errors.New(c.Message))
	}
	switch state := strings.TrimPrefix(status.Operation.State, "OPERATION_STATE_"); state {
	case "PENDING", "RUNNING", "SUCCEEDED", "FAILED":
		return nil
	case "REFUSED":
		return lab.Final(errors.New("operation refused: " + status.Operation.Message))
	default:
		return errors.New("no operation came yet")
	}
}

// forgeOn hands root an operation signed by a CA of the demo's own, as the daemon's user would, and returns root's answer.
func (d *demo) forgeOn(ctx context.Context, edge *actors.Edge) (string, error) {
	ca := "/etc/hybrid-lab/ca.pem"
	data, err := d.plane.CA()
	if err != nil {
		return "", err
	}
	if err := edge.Host.WriteFile(ca, data, 0o644, 0, 0); err != nil {
		return "", err
	}
	cmd := edge.Host.Command(ctx, demoOnHost, forgeCommand, "/run/hybrid-agent-op/op.sock", d.ids[edge.Host.Name], ca)
	actors.AsAgent(cmd.Cmd)
	out, err := cmd.Output()
	return strings.TrimSpace(out), err
}

// opResult is what hybrid-agent-op show prints.
type opResult struct {
	State   string `json:"state"`
	Message string `json:"message"`
	Records []struct {
		Kind string `json:"kind"`
		Step string `json:"step"`
	} `json:"records"`
}

// checkProvision waits for the end of the operation and reads root's journal of it.
func (d *demo) checkProvision(ctx context.Context) (string, error) {
	var took time.Duration
	for _, edge := range d.edges {
		begin := time.Now()
		err := lab.Until(ctx, "the end of provisioning on "+edge.Host.Name, 2*poll, func(ctx context.Context) error {
			status, err := edge.Status(ctx)
			if err != nil {
				return err
			}
			return d.initDone(ctx, edge, status)
		})
		if err != nil {
			return "", err
		}
		took += time.Since(begin)
	}
	return fmt.Sprintf("root's journal on both hosts: nodeadm install, config check, init done in %.1f s", took.Seconds()), nil
}

func nodeadmSteps() []string {
	return []string{"nodeadm-install", "nodeadm-config-check", "nodeadm-init"}
}

// initDone looks for nodeadm's three steps in root's journal; the operation itself may still wait for the node.
func (d *demo) initDone(ctx context.Context, edge *actors.Edge, status actors.Status) error {
	if state := status.Operation.State; strings.HasSuffix(state, "_REFUSED") {
		return lab.Final(errors.New("operation refused: " + status.Operation.Message))
	}
	out, err := edge.Host.Exec(ctx, "/usr/libexec/hybrid-agent/hybrid-agent-op", "show", "-o", "json")
	if err != nil {
		return err
	}
	var result opResult
	if err := json.Unmarshal([]byte(out), &result); err != nil {
		return fmt.Errorf("cannot read root's journal: %w", err)
	}
	done := make(map[string]bool)
	for _, record := range result.Records {
		if record.Kind == "done" {
			done[record.Step] = true
		}
	}
	for _, step := range nodeadmSteps() {
		if !done[step] {
			err := fmt.Errorf("step %s is not done; operation %s at %s: %s", step, result.State, status.Operation.Step, result.Message)
			if result.State == "failed" {
				return lab.Final(err)
			}
			return err
		}
	}
	return nil
}

// checkNodeIP compares the address that the Kubernetes API has with the selected NIC's.
func (d *demo) checkNodeIP(ctx context.Context) (string, error) {
	err := d.eachNode(ctx, "the nodes' addresses", func(n int, node actors.Node) error {
		if node.InternalIP != lab.LANAddress(n) {
			return fmt.Errorf("node %s registered with %s; the selected NIC has %s", node.Name, node.InternalIP, lab.LANAddress(n))
		}
		return nil
	})
	return fmt.Sprintf("the API has %s and %s, the selected NICs' addresses", lab.LANAddress(1), lab.LANAddress(2)), err
}

// checkNodeReady shows that the API calls the nodes Ready, and that their heartbeats come from the node IP through the tunnel.
func (d *demo) checkNodeReady(ctx context.Context) (string, error) {
	before, _, err := d.site.Forwarded(ctx)
	if err != nil {
		return "", err
	}
	beats := make(map[int]int)
	err = d.eachNode(ctx, "Ready nodes", func(n int, node actors.Node) error {
		if first, seen := beats[n]; !seen {
			beats[n] = node.GoodHeartbeats
			return errors.New("waiting for a further heartbeat")
		} else if node.GoodHeartbeats <= first {
			return fmt.Errorf("node %s: no heartbeat since the first look", node.Name)
		}
		if !node.Ready || node.Peer() != lab.LANAddress(n) {
			return fmt.Errorf("node %s: Ready %v (%s), heartbeat from %s", node.Name, node.Ready, node.ReadyReason, node.Peer())
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	after, _, err := d.site.Forwarded(ctx)
	if err != nil {
		return "", err
	}
	if after <= before {
		return "", errors.New("heartbeats arrived, but the VPN server forwarded nothing")
	}
	return fmt.Sprintf("both Ready; heartbeats from the node IPs, %d packets through the tunnel meanwhile", after-before), nil
}

// eachNode waits until ok holds for the node of each edge host.
func (d *demo) eachNode(ctx context.Context, what string, ok func(n int, node actors.Node) error) error {
	return lab.Until(ctx, what, 2*poll, func(ctx context.Context) error {
		nodes, err := d.aws.Nodes(ctx)
		if err != nil {
			return err
		}
		var errs []error
		for n := 1; n <= 2; n++ {
			node, found := nodes[d.ids[lab.EdgeName(n)]]
			if !found {
				errs = append(errs, fmt.Errorf("the API has no node %s", d.ids[lab.EdgeName(n)]))
				continue
			}
			errs = append(errs, ok(n, node))
		}
		return errors.Join(errs...)
	})
}

// checkPoolRunning reads what the operator reads.
func (d *demo) checkPoolRunning(ctx context.Context) (string, error) {
	if err := d.awaitPool(ctx); err != nil {
		return "", err
	}
	table, err := d.operator.Run(ctx, "get", "pools")
	if err != nil {
		return "", err
	}
	lines := strings.Split(strings.TrimSpace(table), "\n")
	if len(lines) != 2 || !strings.Contains(lines[1], "Running") {
		return "", fmt.Errorf("hybridctl get pools prints %q", table)
	}
	return "hybridctl get pools: " + strings.Join(slices.Compact(strings.Fields(lines[1])), " "), nil
}

func (d *demo) awaitPool(ctx context.Context) error {
	return lab.Until(ctx, "the pool to run", 2*poll, func(ctx context.Context) error {
		pool, err := d.operator.Pool(ctx, actors.PoolName)
		if err != nil {
			return err
		}
		if s := pool.Status; s.State != "Running" || s.Ready != 2 || s.Connected != 2 {
			return fmt.Errorf("pool is %s, %d of %d ready, %d connected: %s", s.State, s.Ready, s.Hosts, s.Connected, strings.Join(s.Problems, "; "))
		}
		return nil
	})
}

// checkPing is the other direction: the VPC reaches the hosts.
func (d *demo) checkPing(ctx context.Context) (string, error) {
	for n := 1; n <= 2; n++ {
		if _, err := d.site.Host("vpc").Exec(ctx, "ping", "-c", "2", "-i", "0.1", "-W", "1", "-q", lab.LANAddress(n)); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("the VPC's %s reaches %s and %s", lab.VPCGateway, lab.LANAddress(1), lab.LANAddress(2)), nil
}
