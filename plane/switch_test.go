package plane_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"hybridagent/plane/kind"
	"hybridagent/plane/planetest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

const (
	succeeded = agentv1.OperationState_OPERATION_STATE_SUCCEEDED
	failed    = agentv1.OperationState_OPERATION_STATE_FAILED
	refused   = agentv1.OperationState_OPERATION_STATE_REFUSED
	running   = agentv1.OperationState_OPERATION_STATE_RUNNING
	waiting   = agentv1.OperationState_OPERATION_STATE_PENDING
)

// node is a plane with a host in its pool that is a node already.
type node struct {
	*planetest.Plane
	site   *planetest.Site
	host   *planetest.Host
	stream *planetest.Stream
	update *agentv1.AssignmentUpdate
}

func newNode(t *testing.T, now func() time.Time) *node {
	t.Helper()
	p := planetest.StartAt(t, now)
	n := &node{Plane: p, host: p.Enrolled("edge-1"), site: planetest.NewSite(t, "edge-1", "edge-2")}
	p.Apply(n.site.All()...)
	n.stream = n.host.Connect(0, "")
	n.update = n.stream.Assignment()
	n.report(t)
	return n
}

// report says that the host is a node, on the assignment that it was sent.
func (n *node) report(t *testing.T) {
	t.Helper()
	n.stream.Send(&agentv1.AgentMessage{Message: &agentv1.AgentMessage_AssignmentResult{AssignmentResult: &agentv1.AssignmentResult{
		Generation: n.update.GetGeneration(), Digest: n.update.GetDigest(), Accepted: true,
	}}})
	n.stream.Status(&agentv1.HostStatus{
		Generation: n.update.GetGeneration(), NodeIp: nodeIP, AppliedNodeDigest: "the digest of the first provisioning",
		Conditions: []*agentv1.Condition{{Type: "NodeReady", Status: agentv1.ConditionStatus_CONDITION_STATUS_TRUE}},
	})
}

// reconnect opens a new stream that holds the assignment, as after a lost one.
func (n *node) reconnect() { n.stream = n.host.Connect(n.update.GetGeneration(), n.update.GetDigest()) }

func (n *node) ask(t *testing.T, servers ...string) (string, error) {
	t.Helper()
	resp, err := n.Operator().SwitchNetwork(t.Context(), &planev1.SwitchNetworkRequest{HostId: "edge-1", VpnServers: servers})
	return resp.GetOperationId(), err
}

// begin asks for a switch and answers it as the host got it.
func (n *node) begin(t *testing.T, servers ...string) *agentv1.Operation {
	t.Helper()
	id, err := n.ask(t, servers...)
	if err != nil {
		t.Fatal(err)
	}
	op := open(t, n.Plane, n.stream.Operation())
	if op.GetId() != id || op.GetKind() != agentv1.OperationKind_OPERATION_KIND_LIVE_NETWORK_SWITCH || op.GetHostId() != "edge-1" ||
		!slices.Equal(op.GetNetworkSwitch().GetVpnServers(), servers) || op.GetNode() != nil || op.GetDeadline().AsDuration() <= 0 {
		t.Fatalf("operation %v, want switch %s", op, id)
	}
	return op
}

func (n *node) operation(t *testing.T, id string) *planev1.OperationStatus {
	t.Helper()
	resp, err := n.Operator().GetOperation(t.Context(), &planev1.GetOperationRequest{HostId: "edge-1", OperationId: id})
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetOperation()
}

func (n *node) waitFor(t *testing.T, id string, state agentv1.OperationState) *planev1.OperationStatus {
	t.Helper()
	var st *planev1.OperationStatus
	planetest.Eventually(t, func() (bool, string) {
		st = n.operation(t, id)
		return st.GetProgress().GetState() == state, fmt.Sprint(st)
	})
	return st
}

func (n *node) pool(t *testing.T) *planev1.Resource {
	t.Helper()
	resp, err := n.Operator().Get(t.Context(), &planev1.GetRequest{Kind: kind.Pool, Name: "shop-1"})
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetResource()
}

func (n *node) wantServers(t *testing.T, servers ...string) {
	t.Helper()
	if got := n.pool(t).GetNodePool().GetHosts()[0].GetVpnServers(); !slices.Equal(got, servers) {
		t.Fatalf("the pool has %v, want %v", got, servers)
	}
}

func TestSwitchWritesThePoolOnSuccessOnly(t *testing.T) {
	n := newNode(t, time.Now)
	op := n.begin(t, "10.200.0.3", "10.200.0.4")
	wantSequence(t, op, 1)
	n.stream.AnswerSwitch(op, running, "measures")
	if st := n.waitFor(t, op.GetId(), running); st.GetProgress().GetStep() != "trial" || st.GetProgress().GetPercent() != 40 || !slices.Equal(st.GetVpnServers(), []string{"10.200.0.3", "10.200.0.4"}) {
		t.Fatalf("got %v", st)
	}
	n.wantServers(t, "10.200.0.2")
	n.stream.AnswerSwitch(op, succeeded, "the VPC answers")
	st := n.waitFor(t, op.GetId(), succeeded)
	if st.GetProgress().GetMessage() != "the VPC answers" || st.GetRemark() != "NodePool shop-1 has these VPN servers for the host now" {
		t.Fatalf("got %v", st)
	}
	n.wantServers(t, "10.200.0.3", "10.200.0.4")
	// The host is sent what it has already, and is no worse for it.
	n.update = n.stream.Assignment()
	if got := decode(t, n.update).GetNetwork().GetVpnServers(); !slices.Equal(got, []string{"10.200.0.3", "10.200.0.4"}) {
		t.Fatalf("the host is sent %v", got)
	}
	n.report(t)
	planetest.Eventually(t, func() (bool, string) {
		st := n.pool(t).GetNodePoolStatus()
		return len(st.GetProblems()) == 1 && strings.Contains(st.GetProblems()[0], "edge-2"), fmt.Sprint(st)
	})
	if got := hostStatus(t, n.Plane, "edge-1").GetNetworkSwitch(); got.GetProgress().GetOperationId() != op.GetId() || got.GetProgress().GetState() != succeeded {
		t.Fatalf("the host's last switch is %v", got)
	}
	// And the next one has the next number.
	wantSequence(t, n.begin(t, "10.200.0.2"), 2)
}

func TestSwitchThatWentBackLeavesThePool(t *testing.T) {
	for _, state := range []agentv1.OperationState{failed, refused} {
		t.Run(state.String(), func(t *testing.T) {
			n := newNode(t, time.Now)
			before := n.pool(t).GetMetadata().GetRevision()
			op := n.begin(t, "10.200.0.3")
			n.stream.AnswerSwitch(op, state, "the VPC did not answer through 10.200.0.3")
			st := n.waitFor(t, op.GetId(), state)
			if st.GetProgress().GetMessage() != "the VPC did not answer through 10.200.0.3" || st.GetRemark() != "" {
				t.Fatalf("got %v", st)
			}
			n.wantServers(t, "10.200.0.2")
			if now := n.pool(t).GetMetadata().GetRevision(); now != before {
				t.Errorf("the pool was written: revision %d, before %d", now, before)
			}
			// Neither is it tried again by itself.
			n.stream.Close()
			n.reconnect()
			n.site.Pool.GetNodePool().NtpServers = nil
			n.Apply(n.site.Pool)
			n.stream.Assignment()
		})
	}
}

func TestSwitchIsRefused(t *testing.T) {
	n := newNode(t, time.Now)
	nine := []string{"10.200.0.3", "10.200.0.4", "10.200.0.5", "10.200.0.6", "10.200.0.7", "10.200.0.8", "10.200.0.9", "10.200.0.10", "10.200.0.11"}
	for words, servers := range map[string][]string{
		"EdgeHost edge-1: vpnServers: 0 given, at least 1 needed":                        nil,
		"vpnServers: 9 given, at most 8 allowed":                                         nine,
		`vpnServers[0]: "10.200.0.300" is no IPv4 address such as 10.200.0.2`:            {"10.200.0.300"},
		`vpnServers[0]: "vpn.example" is no IPv4 address`:                                {"vpn.example"},
		`vpnServers[1]: "fd00::1" is no IPv4 address`:                                    {"10.200.0.3", "fd00::1"},
		`vpnServers[0]: "224.0.0.1" is no unicast address`:                               {"224.0.0.1"},
		`vpnServers[0]: "255.255.255.255" is no unicast address`:                         {"255.255.255.255"},
		"vpnServers[1]: 10.200.0.3 is given twice":                                       {"10.200.0.3", "10.200.0.3"},
		"vpnServers[0]: 10.100.0.9 lies inside VPC CIDR 10.100.0.0/16, which is to be r": {"10.100.0.9"},
	} {
		_, err := n.ask(t, servers...)
		wantStatus(t, err, codes.InvalidArgument, words)
	}
	_, err := n.Operator().SwitchNetwork(t.Context(), &planev1.SwitchNetworkRequest{HostId: "edge-9", VpnServers: []string{"10.200.0.3"}})
	wantStatus(t, err, codes.NotFound, `EdgeHost "edge-9" does not exist`)
	n.Enrolled("edge-3").Connect(0, "")
	_, err = n.Operator().SwitchNetwork(t.Context(), &planev1.SwitchNetworkRequest{HostId: "edge-3", VpnServers: []string{"10.200.0.3"}})
	wantStatus(t, err, codes.FailedPrecondition, "host edge-3 is in no NodePool")
	_, err = n.Operator().GetOperation(t.Context(), &planev1.GetOperationRequest{HostId: "edge-1", OperationId: "nosuch"})
	wantStatus(t, err, codes.NotFound, `has no operation "nosuch"`)
	// Offline, since when.
	n.stream.Close()
	planetest.Eventually(t, func() (bool, string) {
		return !hostStatus(t, n.Plane, "edge-1").GetConnected(), "the host counts as connected"
	})
	_, err = n.ask(t, "10.200.0.3")
	since := hostStatus(t, n.Plane, "edge-1").GetSince().AsTime().UTC().Format(time.RFC3339)
	wantStatus(t, err, codes.FailedPrecondition, "host edge-1: it is not connected since "+since)
	// None of it was signed.
	n.reconnect()
	wantSequence(t, n.begin(t, "10.200.0.3"), 1)
}

// TestSwitchesEachSecond: the second is told about the first, and the plane and
// the host go on, many times over.
func TestSwitchesEachSecond(t *testing.T) {
	n := newNode(t, time.Now)
	servers := []string{"10.200.0.3", "10.200.0.2"}
	for i := range 20 {
		op := n.begin(t, servers[i%2])
		wantSequence(t, op, uint64(i+1))
		for range 3 {
			_, err := n.ask(t, servers[(i+1)%2])
			wantStatus(t, err, codes.FailedPrecondition, "an operation is under way: live network switch "+op.GetId()+", since 20")
			wantStatus(t, err, codes.FailedPrecondition, "hybridctl describe host edge-1")
		}
		n.stream.AnswerSwitch(op, succeeded, "")
		n.waitFor(t, op.GetId(), succeeded)
		n.wantServers(t, servers[i%2])
		n.update = n.stream.Assignment()
	}
}

// TestProvisionHoldsASwitchBack, and the other way round: one operation at a time.
func TestProvisionHoldsASwitchBack(t *testing.T) {
	p, site, h, s, op, u := provisioning(t)
	n := &node{Plane: p, site: site, host: h, stream: s, update: u}
	_, err := n.ask(t, "10.200.0.3")
	wantStatus(t, err, codes.FailedPrecondition, "an operation is under way: provision "+op.GetId())
	end(s, op, failed)
	planetest.Eventually(t, func() (bool, string) {
		_, err = n.ask(t, "10.200.0.3")
		return err == nil, fmt.Sprint(err)
	})
	change := s.Switch()
	wantSequence(t, change, 2)
	// The failed provisioning is still the last one: a switch is none, and an
	// operator can have it tried again only once the switch has ended.
	_, err = p.Operator().Provision(t.Context(), &planev1.ProvisionRequest{HostId: "edge-1"})
	wantStatus(t, err, codes.FailedPrecondition, "no operation of this host has failed")
	s.AnswerSwitch(change, succeeded, "")
	n.waitFor(t, change.GetId(), succeeded)
	// Another network is another generation: provisioning is worth trying.
	s.Accept(s.Assignment(), nodeIP)
	again := open(t, p, s.Operation())
	wantSequence(t, again, 3)
	if got := again.GetNode().GetVpnServers(); !slices.Equal(got, []string{"10.200.0.3"}) {
		t.Fatalf("provisioned with VPN servers %v", got)
	}
}

// TestSwitchMendsAHostWhoseProvisioningWaits: the pool has another VPN server, so
// that what was signed is wanted no more, and the host is not ready for the next.
func TestSwitchMendsAHostWhoseProvisioningWaits(t *testing.T) {
	p, site, h, s, op, _ := provisioning(t)
	site.Pool.GetNodePool().Hosts[0].VpnServers = []string{"10.200.0.66"}
	p.Apply(site.Pool)
	n := &node{Plane: p, site: site, host: h, stream: s, update: s.Assignment()}
	s.Status(&agentv1.HostStatus{Generation: n.update.GetGeneration(), NodeIp: nodeIP})
	planetest.Eventually(t, func() (bool, string) {
		st := hostStatus(t, p, "edge-1")
		return !st.GetHost().GetReadyToProvision(), fmt.Sprint(st)
	})
	change := n.begin(t, "10.200.0.3")
	wantSequence(t, change, 2)
	if _, err := p.Operator().GetOperation(t.Context(), &planev1.GetOperationRequest{HostId: "edge-1", OperationId: op.GetId()}); err == nil {
		t.Error("the provisioning that nobody wants is pending yet")
	}
	s.AnswerSwitch(change, succeeded, "")
	n.waitFor(t, change.GetId(), succeeded)
	s.Accept(s.Assignment(), nodeIP)
	wantSequence(t, open(t, p, s.Operation()), 3)
}

// TestPlaneRestartsInTheMiddle: the switch is pending afterwards, is sent to the
// next stream, and concluded by the host's answer.
func TestPlaneRestartsInTheMiddle(t *testing.T) {
	n := newNode(t, time.Now)
	op := n.begin(t, "10.200.0.3")
	n.stream.AnswerSwitch(op, running, "measures")
	n.waitFor(t, op.GetId(), running)
	n.Restart()
	if st := n.operation(t, op.GetId()); final(st) || !strings.Contains(st.GetRemark(), "the host is not connected") {
		t.Fatalf("after a restart: %v", st)
	}
	n.reconnect()
	if again := n.stream.Switch(); !proto.Equal(again, op) {
		t.Fatalf("sent %v, want %v again", again, op)
	}
	n.stream.AnswerSwitch(op, succeeded, "")
	n.waitFor(t, op.GetId(), succeeded)
	n.wantServers(t, "10.200.0.3")
}

func final(st *planev1.OperationStatus) bool {
	switch st.GetProgress().GetState() {
	case running, waiting:
		return false
	}
	return true
}

// TestUnansweredSwitchFails, the pool stays, and a success that is told later
// counts all the same: the host has that network.
func TestUnansweredSwitchFails(t *testing.T) {
	var ahead atomic.Int64
	n := newNode(t, func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) })
	op := n.begin(t, "10.200.0.3")
	n.stream.AnswerSwitch(op, running, "measures")
	n.waitFor(t, op.GetId(), running)
	ahead.Store(int64(11 * time.Minute))
	st := n.waitFor(t, op.GetId(), failed)
	if !strings.Contains(st.GetProgress().GetMessage(), "the host has not told the end within 10m0s") {
		t.Fatalf("got %v", st)
	}
	n.wantServers(t, "10.200.0.2")
	n.stream.AnswerSwitch(op, succeeded, "")
	n.waitFor(t, op.GetId(), succeeded)
	n.wantServers(t, "10.200.0.3")
}

// TestOthersEditThePoolMeanwhile: their edits stay, whatever they are.
func TestOthersEditThePoolMeanwhile(t *testing.T) {
	for name, c := range map[string]struct {
		edit   func(*planev1.NodePoolSpec)
		remark string
		want   []string
	}{
		"labels and another host": {func(p *planev1.NodePoolSpec) {
			p.Labels["new"] = "yes"
			p.Hosts[1].VpnServers = []string{"10.200.0.9"}
		}, "NodePool shop-1 has these VPN servers for the host now", []string{"10.200.0.3"}},
		"hosts in another order": {func(p *planev1.NodePoolSpec) { slices.Reverse(p.Hosts) }, "NodePool shop-1 has these VPN servers for the host now", []string{"10.200.0.3"}},
		"this host's VPN server": {func(p *planev1.NodePoolSpec) { p.Hosts[0].VpnServers = []string{"10.200.0.7"} },
			"NodePool shop-1 was given other VPN servers for the host meanwhile (10.200.0.7) and keeps them", []string{"10.200.0.7"}},
		"the same":     {func(p *planev1.NodePoolSpec) { p.Hosts[0].VpnServers = []string{"10.200.0.3"} }, "NodePool shop-1 has these VPN servers for the host", []string{"10.200.0.3"}},
		"host removed": {func(p *planev1.NodePoolSpec) { p.Hosts = p.Hosts[1:] }, "the host is in no NodePool any more", nil},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, time.Now)
			op := n.begin(t, "10.200.0.3")
			c.edit(n.site.Pool.GetNodePool())
			n.Apply(n.site.Pool)
			n.stream.AnswerSwitch(op, succeeded, "")
			if st := n.waitFor(t, op.GetId(), succeeded); !strings.HasPrefix(st.GetRemark(), c.remark) {
				t.Fatalf("remark %q, want %q", st.GetRemark(), c.remark)
			}
			want := proto.CloneOf(n.site.Pool.GetNodePool())
			for _, h := range want.GetHosts() {
				if h.GetHostId() == "edge-1" {
					h.VpnServers = c.want
				}
			}
			if got := n.pool(t).GetNodePool(); !proto.Equal(got, want) {
				t.Fatalf("the pool is %v, want %v", got, want)
			}
		})
	}
}

// TestSwitchOfAHostThatIsRemoved, or enrolled anew: nobody waits for its answer.
func TestSwitchOfAHostThatIsRemoved(t *testing.T) {
	n := newNode(t, time.Now)
	op := n.begin(t, "10.200.0.3")
	again := n.NewHost("edge-1")
	if err := again.Enroll(n.Token(1)); err != nil {
		t.Fatal(err)
	}
	n.host = again
	n.reconnect()
	if st := n.waitFor(t, op.GetId(), failed); st.GetProgress().GetMessage() != "the host was enrolled anew before it answered" {
		t.Fatalf("got %v", st)
	}
	second := n.begin(t, "10.200.0.3")
	wantSequence(t, second, 2)
	n.site.Pool.GetNodePool().Hosts = nil
	n.Apply(n.site.Pool)
	n.stream.Status(&agentv1.HostStatus{NodeIp: nodeIP}) // a new installation is no node
	planetest.Eventually(t, func() (bool, string) {
		_, err := n.Operator().Delete(t.Context(), &planev1.DeleteRequest{Kind: kind.Host, Name: "edge-1"})
		return err == nil, fmt.Sprint(err)
	})
	if st := n.waitFor(t, second.GetId(), failed); st.GetProgress().GetMessage() != "the host was removed from the plane before it answered" {
		t.Fatalf("got %v", st)
	}
}
