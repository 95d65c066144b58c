package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hybridagent/nodeadm"
	"hybridagent/nodeadm/change"
	"hybridagent/nodeadm/nodeapi"
)

// kubeletUnit is kubelet's unit.
const kubeletUnit = "kubelet.service"

// facts looks at the host and asks the API; it changes nothing. An API that does
// not answer is a fact, not an error.
func (p *job) facts(ctx context.Context) (change.Facts, error) {
	host, err := nodeadm.ReadHost(p.Root)
	if err != nil {
		return change.Facts{}, err
	}
	facts := change.Facts{Host: host, KubeletUnit: p.kubeletState(ctx), BootedOSImage: p.bootedImage(ctx), Pods: p.podsLie()}
	if p.Cluster == nil || !host.Kubeconfig {
		return facts, nil
	}
	ctx, cancel := context.WithTimeout(ctx, apiDeadline)
	defer cancel()
	cluster, err := p.Cluster(p.kubeconfig())
	if err != nil {
		p.Log.Sugar().Warnw("cannot use the Kubernetes API", "op_id", p.op.GetId(), "error", err)
		return facts, nil
	}
	defer cluster.Close()
	if facts.APIVersion, err = cluster.ServerVersion(ctx); err != nil {
		p.Log.Sugar().Warnw("the Kubernetes API does not answer", "op_id", p.op.GetId(), "error", err)
		facts.APIVersion = ""
		return facts, nil
	}
	name := p.former.NodeName
	if name == "" {
		name, _ = nodeadm.ReadNodeName(p.Root)
	}
	switch node, err := cluster.Node(ctx, name); {
	case err == nil:
		facts.Node, facts.KubeletVersion = change.Exists, node.KubeletVersion
	case errors.Is(err, nodeapi.ErrNoNode):
		facts.Node = change.Missing
	}
	return facts, nil
}

// podsLie says whether pods of kubelet's lie on the host; what cannot be read counts
// as pods.
func (p *job) podsLie() bool {
	entries, err := os.ReadDir(filepath.Join(p.Root, "var/lib/kubelet/pods"))
	return len(entries) > 0 || err != nil && !errors.Is(err, fs.ErrNotExist)
}

// kubeletState is what systemd says of kubelet, in change.Facts' words.
func (p *job) kubeletState(ctx context.Context) string {
	if p.Units == nil {
		return ""
	}
	active, _, err := p.Units.Running(ctx, kubeletUnit)
	switch {
	case err != nil:
		return ""
	case active:
		return "active"
	}
	return "inactive"
}

// cluster does something with the Kubernetes API.
func (p *job) cluster(do func(Cluster) error) error {
	if p.Cluster == nil {
		return errors.New("cannot use the Kubernetes API: hybrid-agent-op was started without it")
	}
	cluster, err := p.Cluster(p.kubeconfig())
	if err != nil {
		return fmt.Errorf("cannot use the Kubernetes API as this node: %w", err)
	}
	defer cluster.Close()
	return do(cluster)
}

// sameVersion compares a node part's version with one that kubelet reports:
// v1.31.5-eks-1234567 and v1.31.5 are 1.31.5.
func sameVersion(wanted, reported string) bool {
	want := "v" + wanted
	return reported == want || strings.HasPrefix(reported, want+"-") || strings.HasPrefix(reported, want+"+")
}
