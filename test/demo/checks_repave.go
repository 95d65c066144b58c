package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"hybridagent/test/lab"
	"hybridagent/test/lab/actors"
)

// nextProfile is the version of the profile that the repave row brings: Kubernetes one minor lower, which the skew allows.
func nextProfile() actors.Profile {
	return actors.Profile{Version: "1.1.0", Kubernetes: actors.OlderKubernetes, MaxPods: 50, DrainSeconds: 15}
}

// applyPool applies the pool with these members and the next version of the profile.
func (d *demo) applyPool(ctx context.Context, name string, members []actors.PoolMember) error {
	yaml, err := actors.PoolYAMLOf(architecture(), nextProfile().Version, members)
	if err != nil {
		return err
	}
	return d.operator.Apply(ctx, name, yaml)
}

// checkRepave has the operator choose another version of the profile, and watches that one node after the other is drained, brought to
// the other Kubernetes version and used again, while its pods run on the other node.
func (d *demo) checkRepave(ctx context.Context) (string, error) {
	first, second := d.ids["edge-1"], d.ids["edge-2"]
	err := d.aws.SetPods(ctx,
		actors.Pod{Namespace: "till", Name: "till-a", Node: first, Replacement: "*"},
		actors.Pod{Namespace: "till", Name: "till-b", Node: second, Replacement: "*"})
	if err != nil {
		return "", err
	}
	if d.sabotage == breakDrain {
		if err := d.aws.Forbid(ctx, "till", "till-stays"); err != nil {
			return "", err
		}
	}
	profile, err := actors.ProfileYAML(nextProfile())
	if err != nil {
		return "", err
	}
	if err := d.operator.Apply(ctx, "profile-next.yaml", profile); err != nil {
		return "", err
	}
	if err := d.applyPool(ctx, "pool-next.yaml", d.members(lab.VPNServer)); err != nil {
		return "", err
	}
	d.say("operator: pool %s applied with profile version %s, Kubernetes %s instead of %s", actors.PoolName, nextProfile().Version,
		nextProfile().Kubernetes, actors.KubernetesVersion)
	began := time.Now()
	order, err := d.watchRepave(ctx)
	if err != nil {
		return "", err
	}
	pods, err := d.aws.Pods(ctx)
	if err != nil {
		return "", err
	}
	if len(pods) != 2 {
		return "", fmt.Errorf("%d pods are left of 2", len(pods))
	}
	return fmt.Sprintf("%s: drained, %s, Ready and uncordoned one after the other in %.0f s; both pods run on", strings.Join(order, ", then "),
		nextProfile().Kubernetes, time.Since(began).Seconds()), nil
}

// watchRepave waits until both nodes are on the other version and in use. It answers in which order they were cordoned.
func (d *demo) watchRepave(ctx context.Context) ([]string, error) {
	var order []string
	err := d.eachNode(ctx, "the repave of both nodes", func(n int, node actors.Node) error {
		name := lab.EdgeName(n)
		if node.Unschedulable && (len(order) == 0 || order[len(order)-1] != name) {
			order = append(order, name)
			d.say("repave: %s is cordoned", name)
		}
		if node.Unschedulable && d.sabotage == breakUncordon {
			mark := map[string]any{"metadata": map[string]any{"annotations": map[string]string{"hybrid-agent/cordoned-by": "somebody-else"}}}
			if err := d.aws.PatchNode(ctx, node.Name, mark); err != nil {
				return err
			}
		}
		if err := d.repaveStopped(ctx); err != nil {
			return err
		}
		if !node.Ready || node.Unschedulable || !strings.HasPrefix(node.KubeletVersion, "v"+nextProfile().Kubernetes) {
			return fmt.Errorf("node %s: Ready %v, cordoned %v, kubelet %s", name, node.Ready, node.Unschedulable, node.KubeletVersion)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(order) != 2 {
		return nil, fmt.Errorf("nodes were cordoned in the order %v; want each once", order)
	}
	return order, d.awaitPool(ctx)
}

// repaveStopped is final once the pool says that the repave has stopped.
func (d *demo) repaveStopped(ctx context.Context) error {
	pool, err := d.operator.Pool(ctx, actors.PoolName)
	if err != nil {
		return err
	}
	if rollout := pool.Status.Rollout; strings.EqualFold(rollout.State, "Stopped") {
		return lab.Final(errors.New("the repave has stopped: " + rollout.Message))
	}
	return nil
}

// checkLeave takes edge-2 out of the pool: its node is drained and nodeadm's parts go, and edge-1 notices nothing.
func (d *demo) checkLeave(ctx context.Context) (string, error) {
	if err := d.applyPool(ctx, "pool-left.yaml", d.members(lab.VPNServer)[:1]); err != nil {
		return "", err
	}
	d.say("operator: edge-2 is taken out of pool %s", actors.PoolName)
	began := time.Now()
	edge := d.edges[1]
	err := lab.Until(ctx, "edge-2 to leave", 2*poll, func(ctx context.Context) error {
		status, err := edge.Status(ctx)
		if err != nil {
			return err
		}
		if o := status.Operation; strings.HasSuffix(o.State, "_FAILED") || strings.HasSuffix(o.State, "_REFUSED") {
			return lab.Final(fmt.Errorf("operation %s: %s", o.State, o.Message))
		}
		if len(status.Network.Routes) > 0 {
			return fmt.Errorf("its routes are %v; the operation is at %s", status.Network.Routes, status.Operation.Step)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	if left, err := edge.Host.Exec(ctx, "sh", "-c", "ls -d /usr/bin/kubelet /opt/nodeadm/tracker /var/lib/kubelet/kubeconfig /etc/iam/pki/server.key 2>/dev/null; true"); err != nil {
		return "", err
	} else if left != "" {
		return "", fmt.Errorf("edge-2 still has %q", left)
	}
	nodes, err := d.aws.Nodes(ctx)
	if err != nil {
		return "", err
	}
	if other := nodes[d.ids["edge-1"]]; !other.Ready || other.Unschedulable {
		return "", fmt.Errorf("edge-1's node is Ready %v, cordoned %v", other.Ready, other.Unschedulable)
	}
	return fmt.Sprintf("edge-2 drained, uninstalled and without our routes in %.1f s; edge-1 stays Ready", time.Since(began).Seconds()), nil
}
