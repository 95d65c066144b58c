package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	"hybridagent/plane/kind"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

const uuidHost = "edge-4c4c4544-0042-3510-8058-b4c04f4e3732"

// wantFit checks that no line is longer than 80 columns, and that none carries
// colours where it goes to a file.
func wantFit(t *testing.T, what, out string) {
	t.Helper()
	for _, line := range strings.Split(out, "\n") {
		if n := utf8.RuneCountInString(line); n > screen || line != strings.TrimRight(line, " ") {
			t.Errorf("%s: %d columns: %q", what, n, line)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Errorf("%s: colours without a terminal: %q", what, out)
	}
}

// TestOneLineEach: with host IDs and names as they are in use, a row is a line.
func TestOneLineEach(t *testing.T) {
	host := &planev1.Resource{
		Metadata: &planev1.Metadata{Name: uuidHost},
		Status: &planev1.Resource_EdgeHostStatus{EdgeHostStatus: &planev1.EdgeHostStatus{Connected: true, Pool: "shop-1",
			Host:       &agentv1.HostStatus{Nic: "lan0", NodeIp: "10.200.0.11", AppliedNodeDigest: "d"},
			Conditions: []*agentv1.Condition{{Type: "NodeReady", Status: agentv1.ConditionStatus_CONDITION_STATUS_TRUE}}}},
	}
	pool := &planev1.Resource{
		Metadata: &planev1.Metadata{Name: "shops-north"},
		Spec:     &planev1.Resource_NodePool{NodePool: &planev1.NodePoolSpec{Cluster: "eks-production", Profile: "shop", ProfileVersion: "1.12.0"}},
		Status:   &planev1.Resource_NodePoolStatus{NodePoolStatus: &planev1.NodePoolStatus{State: planev1.PoolState_POOL_STATE_PROVISIONING, Hosts: 120, Ready: 118, Connected: 119}},
	}
	for of, r := range map[string]*planev1.Resource{kind.Host: host, kind.Pool: pool} {
		var out bytes.Buffer
		writeTable(&out, of, []*planev1.Resource{r})
		wantFit(t, of, out.String())
		if n := strings.Count(out.String(), "\n"); n != 2 {
			t.Errorf("%s takes %d lines:\n%s", of, n, out.String())
		}
	}
}

// longHost has everything as long as a host can make it.
func longHost() *planev1.Resource {
	long := strings.Repeat("reason upon reason, ", 60)
	status := &planev1.EdgeHostStatus{
		Connected: true, Pool: strings.Repeat("pool-", 12), AgentVersion: strings.Repeat("v", 100), WantedGeneration: 8,
		Host:      &agentv1.HostStatus{Nic: strings.Repeat("n", 15), NodeIp: "100.100.100.100", Routes: []string{"10.100.0.0/16 via 10.200.0.2 dev lan0 src 10.200.0.11 " + long, "second"}, RepaveFields: []string{long}},
		Inventory: &agentv1.Inventory{Os: strings.Repeat("Linux ", 30), Kernel: strings.Repeat("6.", 60)},
		Operation: &agentv1.OperationProgress{OperationId: strings.Repeat("o", 26), Kind: agentv1.OperationKind_OPERATION_KIND_PROVISION,
			State: agentv1.OperationState_OPERATION_STATE_RUNNING, Step: "nodeadm-config-check", Percent: 40, Message: long},
		Assignment: &agentv1.AssignmentResult{Generation: 7, Refusals: []*agentv1.FieldRefusal{{Field: "network.vpcCidrs", Reason: long}}},
	}
	for _, name := range []string{"NodeReady", strings.Repeat("C", 90)} {
		status.Conditions = append(status.Conditions, &agentv1.Condition{Type: name, Reason: strings.Repeat("Why", 20), Message: long})
	}
	for n := range 3 {
		status.Inventory.Nics = append(status.Inventory.Nics, &agentv1.NIC{Name: fmt.Sprintf("enp%ds0f0np0", n), Kind: "device", Candidate: n == 1, Selected: n == 2,
			Mac: "02:00:00:00:00:01", Altnames: []string{strings.Repeat("a", 127)}, Reasons: []string{long, "\x1b[31mred\x1b[0m"},
			Addresses: []string{"10.200.0.11/24", "2001:db8:1111:2222:3333:4444:5555:6666/64", "fe80::1234:5678:9abc:def0/64"}})
	}
	return &planev1.Resource{Metadata: &planev1.Metadata{Name: strings.Repeat("h", 128)}, Status: &planev1.Resource_EdgeHostStatus{EdgeHostStatus: status}}
}

// TestTablesFit: with the longest of everything, all that people read fits.
func TestTablesFit(t *testing.T) {
	name := strings.Repeat("name-", 12)
	many := []string{"10.100.0.0/16", "10.101.0.0/16", "10.102.0.0/16", "192.168.100.0/22", "172.16.0.0/12"}
	meta := func() *planev1.Metadata { return &planev1.Metadata{Name: name} }
	resources := map[string]*planev1.Resource{
		kind.Cluster: {Metadata: meta(), Spec: &planev1.Resource_HybridCluster{HybridCluster: &planev1.HybridClusterSpec{Region: "ap-southeast-2", VpcCidrs: many, RemoteNodeCidrs: many}}},
		kind.Profile: {Metadata: meta(), Spec: &planev1.Resource_HybridProfile{HybridProfile: &planev1.HybridProfileSpec{Version: "10.20.30-rc.1+" + name}},
			Status: &planev1.Resource_HybridProfileStatus{HybridProfileStatus: &planev1.HybridProfileStatus{InUse: []string{name, name, "a", "b"}}}},
		kind.Pool: {Metadata: meta(), Spec: &planev1.Resource_NodePool{NodePool: &planev1.NodePoolSpec{Cluster: name, Profile: name, ProfileVersion: "1.12.0"}},
			Status: &planev1.Resource_NodePoolStatus{NodePoolStatus: &planev1.NodePoolStatus{Problems: []string{"host " + uuidHost + " has " + strings.Repeat("a long problem ", 30)}}}},
		kind.Token: {Metadata: meta(), Spec: &planev1.Resource_EnrollmentToken{EnrollmentToken: &planev1.EnrollmentTokenSpec{Uses: 10000, ExpiresAt: timestamppb.Now()}}},
		kind.Host:  longHost(),
	}
	for of, r := range resources {
		var out bytes.Buffer
		writeTable(&out, of, []*planev1.Resource{r})
		writeMore(&out, r)
		wantFit(t, of, out.String())
		if !strings.Contains(out.String(), "\n"+r.GetMetadata().GetName()+"\n") && of != kind.Host {
			t.Errorf("%s: the name cannot be copied whole:\n%s", of, out.String())
		}
	}
	for what, write := range map[string]func(io.Writer){
		"describe": func(w io.Writer) { describeHost(w, longHost()) },
		"nics":     func(w io.Writer) { nicTable(longHost().GetEdgeHostStatus().GetInventory().GetNics()).write(w) },
		"nothing":  func(w io.Writer) { describeHost(w, &planev1.Resource{}) },
	} {
		var out bytes.Buffer
		write(&out)
		wantFit(t, what, out.String())
		if strings.Contains(out.String(), "\n: ") || strings.HasPrefix(out.String(), ":") {
			t.Errorf("%s has a line without a label:\n%s", what, out.String())
		}
	}
}

const wantDescribed = `Name:         ` + uuidHost + `
Pool:         -
Connected:    yes since 1970-01-01T00:00:00Z
Agent:        -
System:       -
Generation:   7 in force, 8 wanted
              generation 8 was refused:
              - network.vpcCidrs[0]: overlaps 10.200.0.0/24 of lan0, so that the
              VPN server could not be reached any more
Node:         refused, IP -, Kubernetes -
VPN servers:  -
Routes:       -
Operation:    provision op, refused
Outcome:      none of the operation's CA certificates has the pinned key; check
              plane.caPin in config.yaml against the plane's CA

CONDITION         STATUS  REASON
OperationRunning  False   Refused
  an operation was refused: none of the operation's CA certificates has the
  pinned key
`

func TestDescribe(t *testing.T) {
	refused := "none of the operation's CA certificates has the pinned key; check plane.caPin in config.yaml against the plane's CA"
	r := &planev1.Resource{Metadata: &planev1.Metadata{Name: uuidHost}, Status: &planev1.Resource_EdgeHostStatus{EdgeHostStatus: &planev1.EdgeHostStatus{
		Connected: true, WantedGeneration: 8, Host: &agentv1.HostStatus{Generation: 7},
		Assignment: &agentv1.AssignmentResult{Generation: 8, Refusals: []*agentv1.FieldRefusal{
			{Field: "network.vpcCidrs[0]", Reason: "overlaps 10.200.0.0/24 of lan0, so that the VPN server could not be reached any more"}}},
		Operation: &agentv1.OperationProgress{OperationId: "op", Kind: agentv1.OperationKind_OPERATION_KIND_PROVISION,
			State: agentv1.OperationState_OPERATION_STATE_REFUSED, Message: refused, EndedAt: timestamppb.Now()},
		Conditions: []*agentv1.Condition{{Type: "OperationRunning", Status: agentv1.ConditionStatus_CONDITION_STATUS_FALSE, Reason: "Refused",
			Message: "an operation was refused: none of the operation's CA certificates has the pinned key"}},
	}}}
	var out bytes.Buffer
	describeHost(&out, r)
	if out.String() != wantDescribed {
		t.Errorf("got\n%s\nwant\n%s", out.String(), wantDescribed)
	}
}

// TestColours: each piece of a cell is coloured, the space around it is not.
func TestColours(t *testing.T) {
	var out bytes.Buffer
	writeRow(&out, []cell{{text: "name", style: styleGood}, {text: "a long reason", style: styleBad}, {text: "end"}}, []int{6, 7, 3}, true)
	if got, want := out.String(), "\x1b[32mname\x1b[0m    \x1b[31ma long\x1b[0m   end\n        \x1b[31mreason\x1b[0m\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
