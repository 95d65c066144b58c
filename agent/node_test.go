package agent

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap/zaptest"

	"hybridagent/agent/session"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// scripted is a door whose answers a test sets.
type scripted struct {
	fakeDoor
	mu       sync.Mutex
	state    *agentv1.NodeState
	err      error
	csrs     int
	installs int
	reads    []time.Duration
	start    time.Time
	answers  []func(onProgress func(*agentv1.OperationProgress)) (*agentv1.OperationProgress, error)
}

func (d *scripted) set(change func(*scripted)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

func (d *scripted) counts() (reads, csrs, installs int) {
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.reads), d.csrs, d.installs
}

func (d *scripted) ReadNodeState(context.Context) (*agentv1.NodeState, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reads = append(d.reads, time.Since(d.start))
	return d.state, d.err
}

func (d *scripted) NodeKeyCSR(context.Context) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.csrs++
	return []byte("csr"), d.err
}

func (d *scripted) InstallNodeCertificate(context.Context, []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.installs++
	d.state = &agentv1.NodeState{CertificateInstalled: true}
	return d.err
}

func (d *scripted) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.submits
}

func (d *scripted) Submit(_ context.Context, _ *agentv1.SignedOperation, onProgress func(*agentv1.OperationProgress)) (*agentv1.OperationProgress, error) {
	d.mu.Lock()
	next := d.answers[0]
	d.answers = d.answers[1:]
	d.submits++
	d.mu.Unlock()
	return next(onProgress)
}

// watchNode runs a node monitor by the fake clock.
func watchNode(t *testing.T, d *scripted, test func(n *nodeMonitor, kubelet func(error))) {
	t.Helper()
	watchNodeBehind(t, d, d, test)
}

// watchNodeBehind is watchNode with a door that does more than the script says.
func watchNodeBehind(t *testing.T, d *scripted, door Door, test func(n *nodeMonitor, kubelet func(error))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d.start = time.Now()
		n := newNodeMonitor(zaptest.NewLogger(t), door, session.NewOutbox())
		var mu sync.Mutex
		var health error
		n.healthz = func(context.Context) error { mu.Lock(); defer mu.Unlock(); return health }
		n.changed = func() {}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- n.Run(ctx) }()
		test(n, func(err error) { mu.Lock(); defer mu.Unlock(); health = err })
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
}

func ready() *agentv1.NodeState {
	return &agentv1.NodeState{AppliedNodeDigest: "d", NodeReady: true, CertificateInstalled: true}
}

func TestRootIsAskedRarely(t *testing.T) {
	t.Parallel()
	d := &scripted{state: ready()}
	watchNode(t, d, func(n *nodeMonitor, _ func(error)) {
		time.Sleep(time.Hour - time.Second)
		if reads, _, _ := d.counts(); reads != 6 {
			t.Errorf("%d readings in an hour of a Ready node, want one every ten minutes", reads)
		}
		d.set(func(d *scripted) { d.state = &agentv1.NodeState{AppliedNodeDigest: "d"} })
		n.read()
		before, _, _ := d.counts()
		time.Sleep(10*time.Minute + time.Second)
		if reads, _, _ := d.counts(); reads-before != 10 {
			t.Errorf("%d readings in ten minutes of a node that is not Ready, want one a minute", reads-before)
		}
	})
}

func TestKubeletIsJudgedWhenItFailsTwice(t *testing.T) {
	t.Parallel()
	d := &scripted{state: ready()}
	watchNode(t, d, func(n *nodeMonitor, kubelet func(error)) {
		time.Sleep(time.Second)
		kubelet(errors.New("connection refused"))
		time.Sleep(kubeletInterval)
		synctest.Wait()
		if n.facts().kubeletErr != nil {
			t.Error("one failure is no verdict")
		}
		time.Sleep(kubeletRecheck)
		synctest.Wait()
		if n.facts().kubeletErr == nil {
			t.Error("two failures are one")
		}
		before, _, _ := d.counts()
		kubelet(nil)
		time.Sleep(kubeletInterval)
		if reads, _, _ := d.counts(); n.facts().kubeletErr != nil || reads != before+1 {
			t.Errorf("after kubelet's return: %v, %d readings", n.facts().kubeletErr, reads-before)
		}
	})
}

func TestNodeCertificate(t *testing.T) {
	t.Parallel()
	d := &scripted{state: &agentv1.NodeState{}}
	watchNode(t, d, func(n *nodeMonitor, _ func(error)) {
		input := nodeInput{inPool: true, rolesAnywhere: true, generation: 1}
		n.set(input)
		if _, csrs, _ := d.counts(); csrs != 1 {
			t.Fatalf("%d requests, want 1", csrs)
		}
		n.answer(&agentv1.NodeCertificateResponse{Refusal: "the HybridCluster has no CA key"})
		synctest.Wait()
		if err := n.facts().certificateErr; err == nil {
			t.Error("the plane's refusal is not told")
		} else {
			contains(t, err.Error(), "the HybridCluster has no CA key")
		}
		time.Sleep(certificateRetry - time.Second)
		if _, csrs, _ := d.counts(); csrs != 1 {
			t.Errorf("asked again too early: %d", csrs)
		}
		time.Sleep(2 * time.Second)
		if _, csrs, _ := d.counts(); csrs != 2 {
			t.Errorf("not asked again: %d", csrs)
		}
		n.answer(&agentv1.NodeCertificateResponse{Certificate: []byte("der")})
		n.answer(&agentv1.NodeCertificateResponse{Certificate: []byte("der")}) // of a second stream
		if _, _, installs := d.counts(); installs != 1 || n.facts().certificateErr != nil {
			t.Errorf("%d installs, %v", installs, n.facts().certificateErr)
		}
		time.Sleep(24 * time.Hour)
		if _, csrs, _ := d.counts(); csrs != 2 {
			t.Errorf("asked for another although one is installed: %d", csrs)
		}
	})
}

func TestSSMNeedsNoCertificate(t *testing.T) {
	t.Parallel()
	d := &scripted{state: &agentv1.NodeState{}}
	watchNode(t, d, func(n *nodeMonitor, _ func(error)) {
		n.set(nodeInput{inPool: true, generation: 1})
		time.Sleep(time.Hour)
		if _, csrs, _ := d.counts(); csrs != 0 {
			t.Errorf("%d requests", csrs)
		}
	})
}

func TestDoorThatIsAway(t *testing.T) {
	t.Parallel()
	d := &scripted{err: errors.New("no such socket")}
	watchNode(t, d, func(n *nodeMonitor, _ func(error)) {
		time.Sleep(time.Hour)
		reads, _, _ := d.counts()
		if n.facts().doorErr == nil || reads > 400 {
			t.Errorf("%v after %d readings", n.facts().doorErr, reads)
		}
		d.set(func(d *scripted) { d.err, d.state = nil, ready() })
		time.Sleep(nodeReadNotReady + time.Second)
		synctest.Wait()
		if f := n.facts(); f.doorErr != nil || !f.state.GetNodeReady() {
			t.Errorf("after its return: %+v", f)
		}
	})
}
