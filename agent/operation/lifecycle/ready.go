package lifecycle

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"hybridagent/agent/operation/engine"
	"hybridagent/nodeadm"
)

// ready waits until the Kubernetes API has called the Node Ready for a while,
// with the address and version that were wanted: nodeadm's exit code 0 says
// nothing about that.
func (p *job) ready(ctx context.Context, run engine.Run) error {
	name, err := p.nodeName()
	if err != nil {
		return err
	}
	run.Say("waiting for node " + name + " to be Ready")
	ticker := time.NewTicker(p.PollInterval)
	defer ticker.Stop()
	var since time.Time
	last := "it was not asked yet"
	for {
		reason := p.notReady(ctx, name)
		switch {
		case reason != "":
			since = time.Time{}
			if ctx.Err() == nil && reason != last {
				last = reason
				run.Say("waiting for node " + name + " to be Ready: " + reason)
			}
		case since.IsZero():
			since = time.Now()
		case time.Since(since) >= p.StableFor:
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("node %s did not become Ready: %s; look at kubelet's log on the host (journalctl -u kubelet): %w", name, last, ctx.Err())
		case <-ticker.C:
		}
	}
}

// notReady says why the Node is not as wanted; empty when it is.
func (p *job) notReady(ctx context.Context, name string) string {
	node, err := p.Node(ctx, filepath.Join(p.Root, nodeadm.KubeconfigPath), name)
	want := "v" + p.spec.GetKubernetesVersion()
	switch {
	case err != nil:
		return err.Error()
	case node.InternalIP != p.op.GetNodeIp():
		return fmt.Sprintf("its internal IP is %q, not %s: kubelet does not use the selected NIC", node.InternalIP, p.op.GetNodeIp())
	case node.KubeletVersion != want && !strings.HasPrefix(node.KubeletVersion, want+"-") && !strings.HasPrefix(node.KubeletVersion, want+"+"):
		return fmt.Sprintf("its kubelet has version %q, not %s", node.KubeletVersion, want)
	case !node.Ready:
		return fmt.Sprintf("the API says %s: %s", node.Reason, node.Message)
	}
	return ""
}
