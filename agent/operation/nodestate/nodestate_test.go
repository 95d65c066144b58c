package nodestate_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"hybridagent/agent/operation/applied"
	"hybridagent/agent/operation/nodekey"
	"hybridagent/agent/operation/nodestate"
	"hybridagent/agent/operation/optest"
	"hybridagent/nodeadm/nodeapi"
)

// bench is a reader with a clock and an API of its own.
type bench struct {
	t     *testing.T
	dir   string
	now   time.Time
	node  nodeapi.Node
	err   error
	asked int
	log   *zap.Logger

	csr    nodeapi.CSR
	csrErr error
}

func (b *bench) reader() *nodestate.Reader {
	return nodestate.New(nodestate.Options{
		Dir: b.dir, Root: b.dir, Runner: "systemd", Keys: nodekey.New(b.dir, optest.HostID, time.Now),
		Log: b.log, Now: func() time.Time { return b.now },
		Open: func(string) (nodestate.API, error) { return b, nil },
	})
}

// Node, ServingCSR and Close are the API's.
func (b *bench) Node(context.Context, string) (nodeapi.Node, error) {
	b.asked++
	return b.node, b.err
}

func (b *bench) ServingCSR(context.Context, string) (nodeapi.CSR, error) { return b.csr, b.csrErr }

func (b *bench) Close() {}

func (b *bench) read(r *nodestate.Reader, asked int, ready bool, reason string) {
	b.t.Helper()
	state, err := r.Read(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	if b.asked != asked || state.GetNodeReady() != ready || state.GetReason() != reason {
		b.t.Errorf("asked %d times, ready %v, reason %q; want %d, %v, %q", b.asked, state.GetNodeReady(), state.GetReason(), asked, ready, reason)
	}
}

func TestHowOftenTheAPIIsAsked(t *testing.T) {
	b := &bench{t: t, log: zap.NewNop(), dir: t.TempDir(), now: time.Unix(1_800_000_000, 0)}
	r := b.reader()
	b.read(r, 0, false, "NotProvisioned")
	if err := applied.WriteState(b.dir, applied.State{NodeDigest: "d", NodeName: "n", KubernetesVersion: "1.31.5"}); err != nil {
		t.Fatal(err)
	}
	b.node = nodeapi.Node{Name: "n", Reason: "KubeletNotReady"}
	b.read(r, 1, false, "KubeletNotReady")
	b.now = b.now.Add(59 * time.Second)
	b.read(r, 1, false, "KubeletNotReady")
	b.now = b.now.Add(time.Second)
	b.node.Ready, b.node.Reason = true, "KubeletReady"
	b.read(r, 2, true, "KubeletReady")
	b.now = b.now.Add(9 * time.Minute)
	b.read(r, 2, true, "KubeletReady")
	// The next process keeps to it as well.
	r = b.reader()
	b.read(r, 2, true, "KubeletReady")
	b.now = b.now.Add(time.Minute)
	b.err = errors.New("connection refused")
	b.read(r, 3, false, "APIUnreachable")
	b.err = fmt.Errorf("x: %w", nodeapi.ErrNoNode)
	r.Forget()
	b.read(r, 4, false, "NodeNotFound")
	// A clock that was set back must not silence the reader.
	b.now = b.now.Add(-time.Hour)
	b.err = nodeapi.ErrNoKubeconfig
	b.read(r, 5, false, "NoKubeconfig")
}

// TestUnkeptStateIsLoggedOnce takes the directory away: readings go on, and the
// log does not fill.
func TestUnkeptStateIsLoggedOnce(t *testing.T) {
	core, logged := observer.New(zap.WarnLevel)
	b := &bench{t: t, log: zap.New(core), dir: filepath.Join(t.TempDir(), "gone"), now: time.Unix(1_800_000_000, 0)}
	r := b.reader()
	for range 3 {
		b.read(r, 0, false, "NotProvisioned")
		b.now = b.now.Add(time.Hour)
	}
	if logged.Len() != 1 || logged.All()[0].Message != "cannot keep the node's state; the next process asks the API sooner" {
		t.Errorf("logged: %v", logged.All())
	}
}

// TestDamagedRecords checks what is told of a host whose records were damaged.
func TestDamagedRecords(t *testing.T) {
	core, logged := observer.New(zap.ErrorLevel)
	b := &bench{t: t, log: zap.New(core), dir: t.TempDir(), now: time.Unix(1_800_000_000, 0), node: nodeapi.Node{Ready: true, Reason: "KubeletReady"}}
	if err := applied.WriteState(b.dir, applied.State{NodeDigest: "d", NodeName: "n"}); err != nil {
		t.Fatal(err)
	}
	damage := func(names ...string) {
		for _, name := range names {
			if err := os.WriteFile(filepath.Join(b.dir, name), []byte("garbage"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	damage("applied", "node-state")
	b.read(b.reader(), 1, true, "KubeletReady")
	damage("applied", "applied.copy", "node-state")
	state, err := b.reader().Read(t.Context())
	if err != nil || state.GetAppliedNodeDigest() != "" || !strings.Contains(state.GetMessage(), "hybridctl provision") {
		t.Errorf("Read = %v, %v", state, err)
	}
	if logged.Len() != 2 {
		t.Errorf("logged: %v", logged.All())
	}
}

// TestWhatElseIsTold: the cordon, the certificate request, the node part in force.
func TestWhatElseIsTold(t *testing.T) {
	b := &bench{t: t, log: zap.NewNop(), dir: t.TempDir(), now: time.Unix(1_800_000_000, 0)}
	b.node = nodeapi.Node{Ready: true, Reason: "KubeletReady", Unschedulable: true}
	b.csr = nodeapi.CSR{State: nodeapi.CSRPending, Cause: "nobody has approved it", Since: b.now.Add(-time.Minute)}
	spec := optest.Operation(1).GetNode()
	if err := applied.WriteState(b.dir, applied.State{NodeDigest: "d", NodeName: "n", Node: spec}); err != nil {
		t.Fatal(err)
	}
	r := b.reader()
	state, err := r.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !state.GetUnschedulable() || state.GetServingCertificate() != "pending" || state.GetServingCertificateMessage() != "nobody has approved it" ||
		!state.GetServingCertificateSince().AsTime().Equal(b.csr.Since) || state.GetAppliedNode().GetClusterName() != spec.GetClusterName() {
		t.Errorf("state %v", state)
	}
	// What is awaited is looked at again soon, although the Node is Ready.
	b.now, b.csr = b.now.Add(time.Minute), nodeapi.CSR{State: nodeapi.CSRIssued}
	if state, err = r.Read(t.Context()); err != nil || state.GetServingCertificate() != "issued" {
		t.Errorf("a minute later: %v, %v", state, err)
	}
	b.csrErr = errors.New("403")
	r.Forget()
	if state, err = r.Read(t.Context()); err != nil || !state.GetNodeReady() || state.GetServingCertificateMessage() != "403" {
		t.Errorf("a request that cannot be read: %v, %v", state, err)
	}
}
