//go:build soak

package e2e

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"hybridagent/test/lab"
)

// whole is nil when the host is a node to rely on: root's record, the API and the host agree, and nothing is left over.
func (l *lane) whole(ctx context.Context) error {
	return errors.Join(l.agrees(ctx), l.onlyOneEach(ctx), l.leftOver())
}

// agrees is nil when the node is Ready on exactly what root's record says, and pods may be scheduled on it.
func (l *lane) agrees(ctx context.Context) error {
	state, err := l.applied()
	if err != nil {
		return err
	}
	nodes, err := l.s.aws.Nodes(ctx)
	if err != nil {
		return err
	}
	node := nodes[l.id]
	if !node.Ready || node.Unschedulable || node.KubeletVersion != "v"+state.KubernetesVersion || node.InternalIP != lab.LANAddress(l.n) {
		return fmt.Errorf("node %s: Ready %v (%s), cordoned %v, kubelet %s, address %s; root's record says Kubernetes %s", l.id, node.Ready, node.ReadyReason,
			node.Unschedulable, node.KubeletVersion, node.InternalIP, state.KubernetesVersion)
	}
	version, err := l.edge.Host.Exec(ctx, "/usr/bin/kubelet", "--version")
	if err != nil {
		return err
	}
	if !strings.Contains(version, "v"+state.KubernetesVersion) {
		return fmt.Errorf("the kubelet on disk is %q; root's record says Kubernetes %s", strings.TrimSpace(version), state.KubernetesVersion)
	}
	status, err := l.edge.Status(ctx)
	return errors.Join(err, status.Holds("NodeReady"), status.Holds("RoutesInstalled"), l.configured(string(state.Node.GetKubeletConfigJson())))
}

// configured is nil when kubelet's configuration on disk has maxPods as the node part in force says.
func (l *lane) configured(config string) error {
	_, number, found := strings.Cut(config, `"maxPods":`)
	if !found {
		return fmt.Errorf("root's record holds no maxPods: %s", config)
	}
	number, _, _ = strings.Cut(strings.TrimSpace(number), "}")
	number, _, _ = strings.Cut(number, ",")
	var all string
	for _, path := range []string{"/etc/kubernetes/kubelet/config.json", "/etc/kubernetes/kubelet/config.json.d/00-nodeadm.conf"} {
		content, err := l.edge.Host.ReadFile(path)
		if err == nil {
			all += strings.Join(strings.Fields(string(content)), "")
		}
	}
	if !strings.Contains(all, `"maxPods":`+strings.TrimSpace(number)) {
		return fmt.Errorf("kubelet's configuration does not have maxPods %s, which root's record says", number)
	}
	return nil
}

// onlyOneEach is nil when one kubelet runs, and no nodeadm.
func (l *lane) onlyOneEach(ctx context.Context) error {
	var errs []error
	for name, want := range map[string]int{"kubelet": 1, "nodeadm": 0, "hybrid-agent-op": 1, "hybrid-agent": 1} {
		found, err := l.programs(ctx, name)
		if err == nil && len(found) != want {
			err = fmt.Errorf("%d processes of %s run, want %d: %s", len(found), name, want, strings.Join(found, "; "))
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// leftOver is nil when nothing is on disk that an ended operation must have removed: it may hold secrets, or mislead the next one.
func (l *lane) leftOver() error {
	for _, pattern := range []string{"operations/*.operation", "nodeconfig.yaml", "held"} {
		found, err := filepath.Glob(l.edge.Host.Path("/var/lib/hybrid-agent-op/" + pattern))
		if err != nil {
			return err
		}
		if len(found) > 0 {
			return fmt.Errorf("left over on disk: %v", found)
		}
	}
	return nil
}
