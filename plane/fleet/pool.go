package fleet

import (
	"fmt"
	"strings"
	"time"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

const (
	maxProblems = 32
	// silenceLimit is how long a provisioned host may be without a stream before
	// its last word counts no more.
	silenceLimit = 2 * time.Minute

	conditionNodeReady        = "NodeReady"
	conditionOperationRunning = "OperationRunning"
	reasonRefused             = "Refused"
	reasonFailed              = "Failed"
)

// PoolStatus derives a pool's state from its hosts.
func (f *Fleet) PoolStatus(pool *planev1.NodePoolSpec) *planev1.NodePoolStatus {
	out := &planev1.NodePoolStatus{State: planev1.PoolState_POOL_STATE_RUNNING, Hosts: uint32(len(pool.GetHosts()))}
	for _, member := range pool.GetHosts() {
		state, problem := planev1.PoolState_POOL_STATE_PROVISIONING, "has not enrolled yet"
		if h := f.host(member.GetHostId()); h != nil {
			h.mu.Lock()
			state, problem = h.judgeLocked(f.cfg.Now())
			if h.connected {
				out.Connected++
			}
			if condition(h.status, conditionNodeReady).GetStatus() == agentv1.ConditionStatus_CONDITION_STATUS_TRUE && state != planev1.PoolState_POOL_STATE_UNHEALTHY {
				out.Ready++
			}
			h.mu.Unlock()
		}
		out.State = worse(out.State, state)
		if problem != "" && len(out.Problems) < maxProblems {
			out.Problems = append(out.Problems, "host "+member.GetHostId()+" "+problem)
		}
	}
	return out
}

// worse orders the states by what an operator has to know first.
func worse(a, b planev1.PoolState) planev1.PoolState {
	rank := func(s planev1.PoolState) int {
		switch s {
		case planev1.PoolState_POOL_STATE_UNHEALTHY:
			return 3
		case planev1.PoolState_POOL_STATE_REPAVING:
			return 2
		case planev1.PoolState_POOL_STATE_PROVISIONING:
			return 1
		default:
			return 0
		}
	}
	if rank(b) > rank(a) {
		return b
	}
	return a
}

// judgeLocked answers what a host makes of its pool's state, and the problem in
// words that follow "host X"; empty: none.
func (h *host) judgeLocked(now time.Time) (planev1.PoolState, string) {
	provisioned := h.status.GetAppliedNodeDigest() != ""
	ready := condition(h.status, conditionNodeReady)
	switching := running(h.netSwitch.GetState())
	switch op := h.operation; {
	case failed(op.GetState()) && op.GetNodeDigest() == h.wanted.Assignment.GetNodeDigest() && h.status.GetAppliedNodeDigest() != op.GetNodeDigest():
		return planev1.PoolState_POOL_STATE_UNHEALTHY, failure(op)
	case h.result != nil && !h.result.GetAccepted() && h.result.GetGeneration() == h.generation:
		return unlessProvisioned(provisioned), fmt.Sprintf("refused generation %d: %s", h.generation, refusedFields(h.result))
	case !h.connected && provisioned && now.Sub(h.since) > silenceLimit:
		return planev1.PoolState_POOL_STATE_UNHEALTHY, "has not been heard of since " + h.since.UTC().Format(time.RFC3339)
	case running(op.GetState()) && provisioned:
		return planev1.PoolState_POOL_STATE_REPAVING, fmt.Sprintf("is at %s, %d %%", op.GetStep(), op.GetPercent())
	case running(op.GetState()):
		return planev1.PoolState_POOL_STATE_PROVISIONING, fmt.Sprintf("is at %s, %d %%", op.GetStep(), op.GetPercent())
	case switching && !provisioned:
		return planev1.PoolState_POOL_STATE_PROVISIONING, switchProgress(h.netSwitch)
	case !provisioned && h.operationTrouble() != "":
		return planev1.PoolState_POOL_STATE_UNHEALTHY, "reports: " + h.operationTrouble()
	case !provisioned:
		return planev1.PoolState_POOL_STATE_PROVISIONING, "is not provisioned yet" + firstTrouble(h.status)
	case ready.GetStatus() == agentv1.ConditionStatus_CONDITION_STATUS_FALSE:
		return planev1.PoolState_POOL_STATE_UNHEALTHY, "has a node that is not Ready: " + ready.GetMessage()
	case ready.GetStatus() != agentv1.ConditionStatus_CONDITION_STATUS_TRUE:
		return planev1.PoolState_POOL_STATE_PROVISIONING, "has a node whose state is not known yet"
	case !h.connected:
		return planev1.PoolState_POOL_STATE_RUNNING, "is not connected"
	case switching:
		return planev1.PoolState_POOL_STATE_RUNNING, switchProgress(h.netSwitch)
	case len(h.status.GetRepaveFields()) > 0:
		return planev1.PoolState_POOL_STATE_RUNNING, "needs a repave to take over the pool's settings: " + strings.Join(h.status.GetRepaveFields(), ", ")
	default:
		return planev1.PoolState_POOL_STATE_RUNNING, ""
	}
}

func unlessProvisioned(provisioned bool) planev1.PoolState {
	if provisioned {
		return planev1.PoolState_POOL_STATE_RUNNING
	}
	return planev1.PoolState_POOL_STATE_UNHEALTHY
}

func failed(s agentv1.OperationState) bool {
	return s == agentv1.OperationState_OPERATION_STATE_FAILED || s == agentv1.OperationState_OPERATION_STATE_REFUSED
}

// failure says how an operation failed.
func failure(op *agentv1.OperationProgress) string {
	if op.GetState() == agentv1.OperationState_OPERATION_STATE_REFUSED {
		return "reports: operation refused: " + op.GetMessage()
	}
	return fmt.Sprintf("failed at %s: %s", op.GetStep(), op.GetMessage())
}

func switchProgress(p *agentv1.OperationProgress) string {
	return fmt.Sprintf("switches its network, at %s, %d %%", p.GetStep(), p.GetPercent())
}

// operationTrouble is why the operation that came to a host last did not succeed;
// empty: it did, none came, or it was a live network switch, which leaves the host
// as it was. A host cannot report an operation by its ID whose signature it does
// not trust: then this is all that it says of it.
func (h *host) operationTrouble() string {
	c := condition(h.status, conditionOperationRunning)
	if c.GetStatus() != agentv1.ConditionStatus_CONDITION_STATUS_FALSE || speaksOf(c.GetMessage(), h.netSwitch) {
		return ""
	}
	switch c.GetReason() {
	case reasonRefused, reasonFailed:
		return c.GetMessage()
	}
	return ""
}

// speaksOf says whether a condition's words are about an operation.
func speaksOf(words string, p *agentv1.OperationProgress) bool {
	return p.GetOperationId() != "" && strings.Contains(words, p.GetOperationId()) ||
		failed(p.GetState()) && p.GetMessage() != "" && strings.Contains(words, p.GetMessage())
}

func running(s agentv1.OperationState) bool {
	return s == agentv1.OperationState_OPERATION_STATE_PENDING || s == agentv1.OperationState_OPERATION_STATE_RUNNING
}

func condition(s *agentv1.HostStatus, name string) *agentv1.Condition {
	for _, c := range s.GetConditions() {
		if c.GetType() == name {
			return c
		}
	}
	return nil
}

// refusedFields names the first refused field and its reason, and how many more
// there are.
func refusedFields(r *agentv1.AssignmentResult) string {
	n := len(r.GetRefusals())
	if n == 0 {
		return "no reason given"
	}
	first := r.GetRefusals()[0].GetField() + ": " + r.GetRefusals()[0].GetReason()
	if n == 1 {
		return first
	}
	return fmt.Sprintf("%s (and %d more)", first, n-1)
}

// firstTrouble names the first condition in the order of the stages that does
// not hold.
func firstTrouble(s *agentv1.HostStatus) string {
	for _, kind := range []string{"Registered", "NICSelected", "RoutesInstalled", "PathHealthy"} {
		if c := condition(s, kind); c.GetStatus() == agentv1.ConditionStatus_CONDITION_STATUS_FALSE {
			return fmt.Sprintf(": %s is false (%s): %s", kind, c.GetReason(), c.GetMessage())
		}
	}
	return ""
}
