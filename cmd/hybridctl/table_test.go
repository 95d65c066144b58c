package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"hybridagent/plane/kind"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// TestTablesFit: with host IDs and names as they are in use, no line is longer
// than 80 columns, and none carries colours where it goes to a file.
func TestTablesFit(t *testing.T) {
	host := &planev1.Resource{
		Metadata: &planev1.Metadata{Name: "edge-4c4c4544-0042-3510-8058-b4c04f4e3732"},
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
		for _, line := range strings.Split(out.String(), "\n") {
			if n := utf8.RuneCountInString(line); n > 80 {
				t.Errorf("%d columns: %s", n, line)
			}
		}
		if strings.Contains(out.String(), "\x1b") {
			t.Errorf("colours without a terminal: %q", out.String())
		}
	}
}

// TestTerminalCut: on a terminal the last column is cut at its edge.
func TestTerminalCut(t *testing.T) {
	var out bytes.Buffer
	writeRow(&out, []cell{{text: "name", style: styleGood}, {text: "a long reason"}}, []int{6, 13}, 14, true)
	if got, want := out.String(), "\x1b[32mname\x1b[0m    a lon…\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
