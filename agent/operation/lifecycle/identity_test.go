package lifecycle

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hybridagent/agent/operation/optest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// TestFormerIdentity: kubelet's certificates go with the Node or the cluster that
// they are of, and the operator is told of a Node only where it surely stays behind.
func TestFormerIdentity(t *testing.T) {
	const remove = "kubectl delete node " + optest.HostID
	for _, c := range []struct {
		name   string
		change func(*agentv1.NodeSpec)
		lost   bool
		// told is what the operator reads; empty: nothing of a Node.
		told  string
		stays bool
	}{
		{"another provider", withSSM, false, "stays in the cluster: " + remove, false},
		{"another cluster", func(s *agentv1.NodeSpec) { s.ClusterName = "other" }, false, "there, " + remove, false},
		{"another Region", func(s *agentv1.NodeSpec) { s.Region = "eu-central-1" }, false, "there, " + remove, false},
		{"the record is lost", withSSM, true, "", false},
		{"the same", maxPods, false, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newNode(t, "", "")
			h.put("var/lib/kubelet/pki/kubelet-server-current.pem")
			if c.lost {
				for _, record := range []string{"applied", "applied.copy"} {
					if err := os.Remove(filepath.Join(h.options.Dir, record)); err != nil {
						t.Fatal(err)
					}
				}
			}
			var said []string
			h.options.Line = func(_, text string) { said = append(said, text) }
			wantState(t, h.provision(order(2, repaveKind, c.change)), succeeded)
			_, err := os.Stat(filepath.Join(h.root, "var/lib/kubelet/pki/kubelet-server-current.pem"))
			if stays := !errors.Is(err, fs.ErrNotExist); stays != c.stays {
				t.Errorf("kubelet's certificates: %v", err)
			}
			all := strings.Join(said, "\n")
			if !strings.Contains(all, c.told) || c.told == "" && strings.Contains(all, "kubectl delete node") {
				t.Errorf("said %q", all)
			}
		})
	}
}
