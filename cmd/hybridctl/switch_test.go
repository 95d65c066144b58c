package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hybridagent/plane/kind"
	"hybridagent/plane/planetest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// outcome is what a call of hybridctl ended with.
type outcome struct {
	code        int
	out, errOut string
}

// said is closed by the first words on standard error.
type said chan struct{}

func (s said) Write(b []byte) (int, error) {
	select {
	case <-s:
	default:
		close(s)
	}
	return len(b), nil
}

// start runs hybridctl beside the test.
func start(ctx context.Context, p *planetest.Plane, args ...string) <-chan outcome {
	return startWith(ctx, make(said), p, args...)
}

func startWith(ctx context.Context, first said, p *planetest.Plane, args ...string) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		var out, errOut bytes.Buffer
		code := run(ctx, append(args, "--context", p.ContextFile), strings.NewReader(""), &out, io.MultiWriter(&errOut, first))
		done <- outcome{code, out.String(), errOut.String()}
	}()
	return done
}

func (o outcome) want(t *testing.T, code int, out, errOut string) {
	t.Helper()
	if o.code != code || !strings.Contains(o.out, out) || !strings.Contains(o.errOut, errOut) {
		t.Fatalf("exit %d\n%s\n%s\nwant %d with %q and %q", o.code, o.out, o.errOut, code, out, errOut)
	}
}

// node is a host in a pool, with the stream and the assignment it holds.
func node(t *testing.T) (*planetest.Plane, *planetest.Host, *planetest.Stream, *agentv1.AssignmentUpdate) {
	t.Helper()
	p := planetest.Start(t)
	h := p.Enrolled("edge-1")
	p.Apply(planetest.NewSite(t, "edge-1").All()...)
	s := h.Connect(0, "")
	return p, h, s, s.Assignment()
}

// TestInterruptedSwitchGoesOn: the operator is told where, and the host's end counts.
func TestInterruptedSwitchGoesOn(t *testing.T) {
	p, _, s, _ := node(t)
	ctx, interrupt := context.WithCancel(t.Context())
	signed := make(said)
	done := startWith(ctx, signed, p, "host", "set-vpn", "edge-1", "10.200.0.3", "--live")
	op := s.Switch()
	<-signed
	interrupt()
	(<-done).want(t, exitGoesOn, "", "operation "+op.GetId()+" goes on; 'hybridctl describe host edge-1' shows how it ends")
	s.AnswerSwitch(op, agentv1.OperationState_OPERATION_STATE_SUCCEEDED, "")
	planetest.Eventually(t, func() (bool, string) {
		o := <-start(t.Context(), p, "describe", "host", "edge-1")
		return strings.Contains(o.out, "to 10.200.0.3, succeeded at confirm"), o.out
	})
}

// TestSwitchOutlivesARestartOfThePlane: the wait goes on as soon as it answers.
func TestSwitchOutlivesARestartOfThePlane(t *testing.T) {
	p, h, s, u := node(t)
	signed := make(said)
	done := startWith(t.Context(), signed, p, "host", "set-vpn", "edge-1", "10.200.0.3", "--live", "-o", "json")
	op := s.Switch()
	<-signed
	p.Restart()
	s = h.Connect(u.GetGeneration(), u.GetDigest())
	s.AnswerSwitch(s.Switch(), agentv1.OperationState_OPERATION_STATE_SUCCEEDED, "")
	o := <-done
	o.want(t, 0, op.GetId(), "")
	var v struct {
		Live      bool
		Operation struct {
			Progress struct{ State string }
			Remark   string
		}
	}
	if err := json.Unmarshal([]byte(o.out), &v); err != nil || !v.Live || v.Operation.Progress.State != "Succeeded" || v.Operation.Remark == "" {
		t.Fatalf("%v: %s", err, o.out)
	}
}

func TestSwitchEndsWithItsCode(t *testing.T) {
	p, _, s, _ := node(t)
	live := []string{"host", "set-vpn", "edge-1", "10.200.0.3", "--live"}
	done := start(t.Context(), p, live...)
	s.AnswerSwitch(s.Switch(), agentv1.OperationState_OPERATION_STATE_REFUSED, "NIC lan0 is gone")
	(<-done).want(t, exitFailed, "", "host edge-1 refused the switch and keeps its network: NIC lan0 is gone")
	done = start(t.Context(), p, append(live, "--timeout", "1s")...)
	op := s.Switch()
	(<-done).want(t, exitGoesOn, "", "operation "+op.GetId()+" has not ended within 1s and goes on")
	(<-start(t.Context(), p, live...)).want(t, exitFailed, "", "an operation is under way: live network switch "+op.GetId())
	s.AnswerSwitch(op, agentv1.OperationState_OPERATION_STATE_FAILED, "")
	planetest.Eventually(t, func() (bool, string) {
		o := <-start(t.Context(), p, append(live, "--timeout", "1s")...)
		return o.code == exitGoesOn, o.errOut
	})
	s.Switch()
	p.Stop()
	(<-start(t.Context(), p, live...)).want(t, exitUnreachable, "", "cannot reach the plane")
}

// TestPlaneAwayWhileWaiting: the operator is told what is known.
func TestPlaneAwayWhileWaiting(t *testing.T) {
	p, _, s, _ := node(t)
	signed := make(said)
	done := startWith(t.Context(), signed, p, "host", "set-vpn", "edge-1", "10.200.0.3", "--live", "--timeout", "3s")
	op := s.Switch()
	<-signed
	p.Stop()
	o := <-done
	o.want(t, exitUnreachable, "", "operation "+op.GetId()+" goes on, but the plane does not answer")
	o.want(t, exitUnreachable, "", "the plane does not answer; asking again")
}

// TestManySetVPNAtOnce: each has its host's servers in the pool in the end.
func TestManySetVPNAtOnce(t *testing.T) {
	p := planetest.Start(t)
	hosts := []string{"edge-1", "edge-2", "edge-3", "edge-4"}
	for _, h := range hosts {
		p.Enrolled(h)
	}
	p.Apply(planetest.NewSite(t, hosts...).All()...)
	var all sync.WaitGroup
	for i, h := range hosts {
		all.Go(func() {
			if o := <-start(t.Context(), p, "host", "set-vpn", h, fmt.Sprintf("10.200.0.%d", 20+i)); o.code != 0 {
				t.Errorf("%s: %+v", h, o)
			}
		})
	}
	all.Wait()
	resp, err := p.Operator().Get(t.Context(), &planev1.GetRequest{Kind: kind.Pool, Name: "shop-1"})
	if err != nil {
		t.Fatal(err)
	}
	for i, h := range resp.GetResource().GetNodePool().GetHosts() {
		if want := fmt.Sprintf("10.200.0.%d", 20+i); !slices.Equal(h.GetVpnServers(), []string{want}) {
			t.Errorf("%s has %v, want %s", h.GetHostId(), h.GetVpnServers(), want)
		}
	}
}

// TestProgressIsSaid on every change, and now and then while there is none.
func TestProgressIsSaid(t *testing.T) {
	at := time.Unix(0, 0)
	var out bytes.Buffer
	p := newProgress(&out, func() time.Time { return at })
	running := func(percent uint32, words string) *planev1.OperationStatus {
		return &planev1.OperationStatus{Progress: &agentv1.OperationProgress{
			State: agentv1.OperationState_OPERATION_STATE_RUNNING, Step: "trial", Percent: percent, Message: words,
		}}
	}
	p.show(&planev1.OperationStatus{Progress: &agentv1.OperationProgress{State: agentv1.OperationState_OPERATION_STATE_PENDING}, Remark: "sent to the host, which has not answered yet"})
	for range 120 {
		at = at.Add(100 * time.Millisecond)
		percent := uint32(10)
		if at.After(time.Unix(8, 0)) {
			percent = 60
		}
		p.show(running(percent, "measures"))
	}
	const want = `  0s  pending: sent to the host, which has not answered yet
  0s  running trial 10%: measures
  5s  running trial 10%: measures
  8s  running trial 60%: measures
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
	p.w = io.Discard
	p.away()
}

// TestRefusalsFit: the generation, each field and its reason, in 80 columns.
func TestRefusalsFit(t *testing.T) {
	r := &planev1.Resource{Metadata: &planev1.Metadata{Name: "edge-1"}, Status: &planev1.Resource_EdgeHostStatus{EdgeHostStatus: &planev1.EdgeHostStatus{
		Pool: "shop-1", WantedGeneration: 8, Host: &agentv1.HostStatus{Generation: 7},
		Assignment: &agentv1.AssignmentResult{Generation: 8, Refusals: []*agentv1.FieldRefusal{
			{Field: "network.vpn_servers[0]", Reason: "10.100.0.1 did not answer through 10.200.0.9 within 45 s; went back to generation 7; check that 10.200.0.9 forwards the VPC"},
			{Field: "network.nic", Reason: "no NIC eth7"},
		}},
	}}}
	var out bytes.Buffer
	writeTable(&out, kind.Host, []*planev1.Resource{r})
	const table = `NAME    POOL    UP  NODE  NODE IP  NIC
edge-1  shop-1  no  none  -        -
  generation 8 was refused: network.vpn_servers[0]: 10.100.0.1 did not answer
  through 10.200.0.9 within 45 s; went back to generation 7; check that
  10.200.0.9 forwards the VPC; network.nic: no NIC eth7
`
	if out.String() != table {
		t.Errorf("got\n%swant\n%s", out.String(), table)
	}
	out.Reset()
	describeHost(&out, r)
	const sheet = `Generation:   7 in force, 8 wanted
              generation 8 was refused:
              - network.vpn_servers[0]: 10.100.0.1 did not answer through
              10.200.0.9 within 45 s; went back to generation 7; check that
              10.200.0.9 forwards the VPC
              - network.nic: no NIC eth7
`
	if !strings.Contains(out.String(), sheet) {
		t.Errorf("got\n%swant\n%s", out.String(), sheet)
	}
	// One that was overtaken by another generation is history.
	r.GetEdgeHostStatus().WantedGeneration = 9
	out.Reset()
	writeTable(&out, kind.Host, []*planev1.Resource{r})
	if strings.Contains(out.String(), "refused") {
		t.Errorf("got\n%s", out.String())
	}
}
