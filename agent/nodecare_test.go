package agent

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// caring is a door that counts what a node is given.
type caring struct {
	scripted
	labelled  []map[string]string
	labelsErr error
	reply     *agentv1.SetNodeLabelsReply
	forecasts []string
	foreErr   error
	nudges    int
}

func (d *caring) SetNodeLabels(_ context.Context, labels map[string]string) (*agentv1.SetNodeLabelsReply, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.labelled = append(d.labelled, labels)
	return d.reply, d.labelsErr
}

func (d *caring) Forecast(_ context.Context, request *agentv1.ForecastRequest) (*agentv1.Forecast, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forecasts = append(d.forecasts, request.GetNodeDigest())
	return &agentv1.Forecast{Path: "upgrade", NodeDigest: request.GetNodeDigest()}, d.foreErr
}

func (d *caring) NudgeSSMAgent(context.Context) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.nudges++
	return true, nil
}

// calls is a copy of what was asked for.
func (d *caring) calls() (labelled []map[string]string, forecasts []string, nudges int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.labelled), slices.Clone(d.forecasts), d.nudges
}

// watchCare is watchNode with that door.
func watchCare(t *testing.T, d *caring, test func(n *nodeMonitor)) {
	t.Helper()
	watchNodeBehind(t, &d.scripted, d, func(n *nodeMonitor, _ func(error)) { test(n) })
}

// pass lets the monitor work for a time.
func pass(wait time.Duration) {
	time.Sleep(wait)
	synctest.Wait()
}

func TestLabelsAreBroughtToTheNode(t *testing.T) {
	t.Parallel()
	d := &caring{scripted: scripted{state: ready()}}
	watchCare(t, d, func(n *nodeMonitor) {
		site := map[string]string{"site": "12"}
		n.set(nodeInput{inPool: true, labels: site})
		pass(time.Second)
		if labelled, _, _ := d.calls(); len(labelled) != 1 || !maps.Equal(labelled[0], site) {
			t.Fatalf("labelled %v", labelled)
		}
		pass(labelsAgain - 2*time.Second)
		if labelled, _, _ := d.calls(); len(labelled) != 1 {
			t.Errorf("labelled %d times within the hour", len(labelled))
		}
		pass(2 * time.Second)
		if labelled, _, _ := d.calls(); len(labelled) != 2 {
			t.Errorf("labelled %d times after an hour", len(labelled))
		}
		d.set(func(*scripted) { d.labelsErr = errors.New("the API is away") })
		n.set(nodeInput{inPool: true, labels: map[string]string{"site": "13"}})
		pass(time.Second)
		if n.facts().labelsErr == nil {
			t.Error("the failure is not told")
		}
		d.set(func(*scripted) {
			d.labelsErr, d.reply = nil, &agentv1.SetNodeLabelsReply{Restricted: []string{"node-role.kubernetes.io/edge"}}
		})
		pass(careRetry)
		if f := n.facts(); f.labelsErr != nil || !slices.Equal(f.restricted, []string{"node-role.kubernetes.io/edge"}) {
			t.Errorf("after the API's return: %v, %v", f.labelsErr, f.restricted)
		}
	})
}

func TestForecastWhileARepaveIsRequired(t *testing.T) {
	t.Parallel()
	d := &caring{scripted: scripted{state: ready()}}
	watchCare(t, d, func(n *nodeMonitor) {
		pass(time.Second)
		n.set(nodeInput{inPool: true, forecast: &agentv1.ForecastRequest{NodeDigest: "b"}})
		pass(time.Second)
		if _, forecasts, _ := d.calls(); n.facts().forecast.GetPath() != "upgrade" || len(forecasts) != 1 {
			t.Fatalf("forecast %v of %v", n.facts().forecast, forecasts)
		}
		n.set(nodeInput{inPool: true, forecast: &agentv1.ForecastRequest{NodeDigest: "c"}})
		pass(time.Second)
		if _, forecasts, _ := d.calls(); !slices.Equal(forecasts, []string{"b", "c"}) {
			t.Errorf("asked for %v", forecasts)
		}
		d.set(func(*scripted) { d.foreErr = errors.New("busy") })
		pass(forecastAgain)
		if _, forecasts, _ := d.calls(); len(forecasts) != 3 {
			t.Errorf("asked %d times after ten minutes", len(forecasts))
		}
		contains(t, n.facts().forecast.GetRefusal(), "cannot tell", "busy")
		n.set(nodeInput{inPool: true})
		pass(time.Second)
		if n.facts().forecast != nil {
			t.Error("a forecast of what is not required")
		}
	})
}

func TestSSMAgentIsNudgedAfterALongOutage(t *testing.T) {
	t.Parallel()
	state := ready()
	state.AppliedNode = &agentv1.NodeSpec{Access: &agentv1.AccessManagement{Method: &agentv1.AccessManagement_Ssm{Ssm: &agentv1.SSMAccess{}}}}
	d := &caring{scripted: scripted{state: state}}
	watchCare(t, d, func(n *nodeMonitor) {
		outage := func(length time.Duration, nudges int) {
			t.Helper()
			n.set(nodeInput{inPool: true, pathDown: true})
			pass(length)
			n.set(nodeInput{inPool: true})
			pass(time.Second)
			if _, _, got := d.calls(); got != nudges {
				t.Errorf("%d nudges after an outage of %s, want %d", got, length, nudges)
			}
		}
		pass(time.Second)
		outage(4*time.Minute, 0)
		outage(3*time.Hour, 1)
		d.set(func(s *scripted) { s.state = ready() }) // with IAM Roles Anywhere
		n.read()
		pass(time.Second)
		outage(3*time.Hour, 1)
	})
}

// TestCertificateIsRenewedBeforeHalfItsLife, and is no reason to worry until its end
// is near.
func TestCertificateIsRenewedBeforeHalfItsLife(t *testing.T) {
	t.Parallel()
	d := &scripted{state: ready()}
	watchNode(t, d, func(n *nodeMonitor, _ func(error)) {
		from := time.Now()
		const life = 100 * time.Hour
		d.set(func(d *scripted) {
			d.state.CertificateValidFrom, d.state.CertificateExpiresAt = timestamppb.New(from), timestamppb.New(from.Add(life))
		})
		n.set(nodeInput{inPool: true, rolesAnywhere: true, generation: 1})
		n.read()
		pass(39 * time.Hour)
		if _, csrs, _ := d.counts(); csrs != 0 {
			t.Errorf("%d requests before two fifths of its life", csrs)
		}
		pass(time.Hour + nodeReadReady)
		if _, csrs, _ := d.counts(); csrs != 1 {
			t.Errorf("%d requests after two fifths of its life, want 1", csrs)
		}
	})
	for hours, urgent := range map[time.Duration]bool{0: false, 79: false, 81: true, 101: true} {
		from := noon()
		state := &agentv1.NodeState{CertificateInstalled: true, CertificateValidFrom: timestamppb.New(from), CertificateExpiresAt: timestamppb.New(from.Add(100 * time.Hour))}
		if got := certificateUrgent(state, from.Add(hours*time.Hour)); got != urgent {
			t.Errorf("urgent after %d of 100 hours: %v", hours, got)
		}
	}
}

// TestWhatIsLeftToDoByHand names the commands.
func TestWhatIsLeftToDoByHand(t *testing.T) {
	t.Parallel()
	f := healthyFacts(t)
	f.assignment.msg.Labels = map[string]string{"node-role.kubernetes.io/edge": "yes"}
	f.node.restricted = []string{"node-role.kubernetes.io/edge"}
	edge, gone, theirs := &agentv1.Taint{Key: "edge", Value: "1", Effect: "NoSchedule"}, &agentv1.Taint{Key: "old", Effect: "NoExecute"}, &agentv1.Taint{Key: "theirs", Effect: "NoExecute"}
	f.assignment.msg.Taints = []*agentv1.Taint{edge}
	f.node.state.AppliedNode = &agentv1.NodeSpec{RegistrationTaints: []*agentv1.Taint{gone}}
	f.node.state.Taints = []*agentv1.Taint{gone, theirs}
	contains(t, strings.Join(f.remarks(), "\n"), "kubectl label node edge-1 node-role.kubernetes.io/edge=yes --overwrite",
		"kubectl taint node edge-1 edge=1:NoSchedule", "kubectl taint node edge-1 old:NoExecute-")
	if len(f.remarks()) != 3 {
		t.Errorf("remarks %q", f.remarks())
	}
	f.node.restricted, f.node.state.Taints = nil, []*agentv1.Taint{edge, theirs}
	if got := f.remarks(); got != nil {
		t.Errorf("remarks %q although all is done", got)
	}
}
