package fleet

import (
	"testing"
	"time"

	"hybridagent/plane/compile"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

func TestJudge(t *testing.T) {
	now := time.Unix(1e9, 0)
	ready := func(s agentv1.ConditionStatus) []*agentv1.Condition {
		return []*agentv1.Condition{{Type: conditionNodeReady, Status: s, Message: "kubelet stopped"}}
	}
	const yes, no = agentv1.ConditionStatus_CONDITION_STATUS_TRUE, agentv1.ConditionStatus_CONDITION_STATUS_FALSE
	trouble := func(reason string) *agentv1.HostStatus {
		return &agentv1.HostStatus{Conditions: []*agentv1.Condition{{Type: conditionOperationRunning, Status: no, Reason: reason, Message: "operation refused: forged"}}}
	}
	for name, c := range map[string]struct {
		change  func(*host)
		state   planev1.PoolState
		problem string
	}{
		"running":    {func(*host) {}, planev1.PoolState_POOL_STATE_RUNNING, ""},
		"just ready": {func(h *host) { h.status.Conditions = nil }, planev1.PoolState_POOL_STATE_PROVISIONING, "has a node whose state is not known yet"},
		"not ready":  {func(h *host) { h.status.Conditions = ready(no) }, planev1.PoolState_POOL_STATE_UNHEALTHY, "has a node that is not Ready: kubelet stopped"},
		"bare":       {func(h *host) { h.status = nil }, planev1.PoolState_POOL_STATE_PROVISIONING, "is not provisioned yet"},
		"bare and stuck": {func(h *host) {
			h.status = &agentv1.HostStatus{Conditions: []*agentv1.Condition{{Type: "NICSelected", Status: no, Reason: "NoCandidate", Message: "no NIC fits"}}}
		}, planev1.PoolState_POOL_STATE_PROVISIONING, "is not provisioned yet: NICSelected is false (NoCandidate): no NIC fits"},
		"provisioning": {func(h *host) {
			h.status, h.operation = nil, &agentv1.OperationProgress{State: agentv1.OperationState_OPERATION_STATE_RUNNING, Step: "nodeadm-init", Percent: 40}
		}, planev1.PoolState_POOL_STATE_PROVISIONING, "is at nodeadm-init, 40 %"},
		"failed": {func(h *host) {
			h.status, h.operation = nil, &agentv1.OperationProgress{State: agentv1.OperationState_OPERATION_STATE_FAILED, Step: "nodeadm-init", Message: "no", NodeDigest: "d"}
		}, planev1.PoolState_POOL_STATE_UNHEALTHY, "failed at nodeadm-init: no"},
		"refused an operation": {func(h *host) {
			h.status, h.operation = nil, &agentv1.OperationProgress{State: agentv1.OperationState_OPERATION_STATE_REFUSED, Message: "no pinned key", NodeDigest: "d"}
		}, planev1.PoolState_POOL_STATE_UNHEALTHY, "reports: operation refused: no pinned key"},
		"refused an operation, but is a node": {func(h *host) {
			h.operation = &agentv1.OperationProgress{State: agentv1.OperationState_OPERATION_STATE_REFUSED, Message: "stale", NodeDigest: "d"}
		}, planev1.PoolState_POOL_STATE_RUNNING, ""},
		"refused one it cannot name": {func(h *host) { h.status = trouble("Refused") }, planev1.PoolState_POOL_STATE_UNHEALTHY, "reports: operation refused: forged"},
		"says that one failed":       {func(h *host) { h.status = trouble("Failed") }, planev1.PoolState_POOL_STATE_UNHEALTHY, "reports: operation refused: forged"},
		"says that none came":        {func(h *host) { h.status = trouble("None") }, planev1.PoolState_POOL_STATE_PROVISIONING, "is not provisioned yet"},
		"node that refused one": {func(h *host) {
			h.status.Conditions = append(h.status.Conditions, trouble("Refused").Conditions...)
		}, planev1.PoolState_POOL_STATE_RUNNING, ""},
		"refused one, and runs the next": {func(h *host) {
			h.status, h.operation = trouble("Refused"), &agentv1.OperationProgress{State: agentv1.OperationState_OPERATION_STATE_RUNNING, Step: "preflight"}
		}, planev1.PoolState_POOL_STATE_PROVISIONING, "is at preflight, 0 %"},
		"refused": {func(h *host) { h.result = &agentv1.AssignmentResult{Generation: 1} }, planev1.PoolState_POOL_STATE_RUNNING, "refused generation 1: no reason given"},
		"rolled a trial back": {func(h *host) {
			h.result = &agentv1.AssignmentResult{Generation: 1, Refusals: []*agentv1.FieldRefusal{{Field: "network.vpn_servers[0]", Reason: "the VPC did not answer"}, {Field: "network.nic"}}}
		}, planev1.PoolState_POOL_STATE_RUNNING, "refused generation 1: network.vpn_servers[0]: the VPC did not answer (and 1 more)"},
		"refused the one before": {func(h *host) { h.result, h.generation = &agentv1.AssignmentResult{Generation: 1}, 2 }, planev1.PoolState_POOL_STATE_RUNNING, ""},
		"switches": {func(h *host) { h.netSwitch = switching(agentv1.OperationState_OPERATION_STATE_RUNNING) }, planev1.PoolState_POOL_STATE_RUNNING,
			"switches its network, at trial, 40 %"},
		"switches before it is a node": {func(h *host) {
			h.status, h.netSwitch = nil, switching(agentv1.OperationState_OPERATION_STATE_RUNNING)
		}, planev1.PoolState_POOL_STATE_PROVISIONING, "switches its network, at trial, 40 %"},
		"went back": {func(h *host) { h.netSwitch = switching(agentv1.OperationState_OPERATION_STATE_FAILED) }, planev1.PoolState_POOL_STATE_RUNNING, ""},
		"went back before it is a node": {func(h *host) {
			h.status, h.netSwitch = trouble("Failed"), switching(agentv1.OperationState_OPERATION_STATE_FAILED)
		}, planev1.PoolState_POOL_STATE_PROVISIONING, "is not provisioned yet"},
		"went back, then refused an operation it cannot name": {func(h *host) {
			h.status, h.netSwitch = trouble("Refused"), switching(agentv1.OperationState_OPERATION_STATE_FAILED)
			h.netSwitch.Message = "the VPC did not answer"
		}, planev1.PoolState_POOL_STATE_UNHEALTHY, "reports: operation refused: forged"},
		"short silence": {func(h *host) { h.connected, h.since = false, now.Add(-time.Minute) }, planev1.PoolState_POOL_STATE_RUNNING, "is not connected"},
		"long silence":  {func(h *host) { h.connected, h.since = false, now.Add(-time.Hour) }, planev1.PoolState_POOL_STATE_UNHEALTHY, "has not been heard of since 2001-09-09T00:46:40Z"},
		"needs a repave": {func(h *host) {
			h.wanted.Assignment, h.status.RepaveFields = &agentv1.Assignment{NodeDigest: "e"}, []string{"node.vpn_servers", "node.nic"}
		}, planev1.PoolState_POOL_STATE_RUNNING, "needs a repave to take over the pool's settings: node.vpn_servers, node.nic"},
		"has by a switch what the pool says": {func(h *host) { h.wanted.Assignment = &agentv1.Assignment{NodeDigest: "e"} }, planev1.PoolState_POOL_STATE_RUNNING, ""},
	} {
		h := &host{connected: true, generation: 1, wanted: compile.Output{Assignment: &agentv1.Assignment{NodeDigest: "d"}},
			status: &agentv1.HostStatus{AppliedNodeDigest: "d", Conditions: ready(yes)}}
		c.change(h)
		if state, problem := h.judgeLocked(now); state != c.state || problem != c.problem {
			t.Errorf("%s: %v %q, want %v %q", name, state, problem, c.state, c.problem)
		}
	}
}

func switching(state agentv1.OperationState) *agentv1.OperationProgress {
	return &agentv1.OperationProgress{
		Kind: agentv1.OperationKind_OPERATION_KIND_LIVE_NETWORK_SWITCH, OperationId: "k5usvxksot7mtg3kemgitu56yq", State: state, Step: "trial", Percent: 40, Message: "forged",
	}
}
