package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"hybridagent/plane/kind"
	"hybridagent/plane/manifest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// writeTable writes resources of one kind.
func writeTable(w io.Writer, of string, list []*planev1.Resource) {
	if len(list) == 0 {
		fmt.Fprintf(w, "there is no %s\n", of)
		return
	}
	t := &table{}
	for _, r := range list {
		switch of {
		case kind.Cluster:
			clusterRow(t, r)
		case kind.Profile:
			profileRow(t, r)
		case kind.Pool:
			poolRow(t, r)
		case kind.Host:
			hostRow(t, r)
		case kind.Token:
			tokenRow(t, r, time.Now())
		}
	}
	t.write(w)
}

func clusterRow(t *table, r *planev1.Resource) {
	t.head = []string{"NAME", "REGION", "ACCESS", "VPC CIDRS", "REMOTE NODE CIDRS"}
	c := r.GetHybridCluster()
	access := "IAM Roles Anywhere"
	if c.GetAccessManagement().GetSystemsManager() != nil {
		access = "Systems Manager"
	}
	t.add(text(r.GetMetadata().GetName()), text(c.GetRegion()), text(access),
		text(strings.Join(c.GetVpcCidrs(), ", ")), text(strings.Join(c.GetRemoteNodeCidrs(), ", ")))
}

func profileRow(t *table, r *planev1.Resource) {
	t.head = []string{"NAME", "VERSION", "KUBERNETES", "OS", "IN USE"}
	p := r.GetHybridProfile()
	mode := p.GetOs().GetMode()
	t.add(text(r.GetMetadata().GetName()), text(p.GetVersion()), text(p.GetKubernetes().GetVersion()),
		text(manifest.EnumWord(mode.Descriptor(), mode.Number())), text(strings.Join(r.GetHybridProfileStatus().GetInUse(), ", ")))
}

func poolRow(t *table, r *planev1.Resource) {
	t.head = []string{"NAME", "CLUSTER", "PROFILE", "STATE", "READY", "CONNECTED"}
	p, s := r.GetNodePool(), r.GetNodePoolStatus()
	t.add(text(r.GetMetadata().GetName()), text(p.GetCluster()), text(p.GetProfile()+"@"+p.GetProfileVersion()),
		poolState(s.GetState()), text(fmt.Sprintf("%d/%d", s.GetReady(), s.GetHosts())),
		text(fmt.Sprintf("%d/%d", s.GetConnected(), s.GetHosts())))
}

func poolState(s planev1.PoolState) cell {
	c := text(manifest.EnumWord(s.Descriptor(), s.Number()))
	switch s {
	case planev1.PoolState_POOL_STATE_RUNNING:
		c.style = styleGood
	case planev1.PoolState_POOL_STATE_UNHEALTHY:
		c.style = styleBad
	default:
		c.style = styleWait
	}
	return c
}

func hostRow(t *table, r *planev1.Resource) {
	// A host ID made of a product UUID has 41 characters.
	t.head = []string{"NAME", "POOL", "UP", "NODE", "NODE IP", "NIC"}
	s := r.GetEdgeHostStatus()
	connected := cell{text: "no", style: styleBad}
	if s.GetConnected() {
		connected = cell{text: "yes", style: styleGood}
	}
	t.add(text(r.GetMetadata().GetName()), text(s.GetPool()), connected,
		nodeState(s), text(s.GetHost().GetNodeIp()), text(s.GetHost().GetNic()))
	if a := s.GetAssignment(); a.GetGeneration() == s.GetWantedGeneration() {
		t.note(refusalLine(a))
	}
}

// nodeState is the node in a word.
func nodeState(s *planev1.EdgeHostStatus) cell {
	op := s.GetOperation()
	switch op.GetState() {
	case agentv1.OperationState_OPERATION_STATE_PENDING, agentv1.OperationState_OPERATION_STATE_RUNNING:
		return cell{text: fmt.Sprintf("%s %d%%", op.GetStep(), op.GetPercent()), style: styleWait}
	}
	for _, c := range s.GetConditions() {
		if c.GetType() == "NodeReady" && c.GetStatus() == agentv1.ConditionStatus_CONDITION_STATUS_TRUE {
			return cell{text: "Ready", style: styleGood}
		}
	}
	switch {
	case op.GetState() == agentv1.OperationState_OPERATION_STATE_FAILED:
		return cell{text: "failed", style: styleBad}
	case op.GetState() == agentv1.OperationState_OPERATION_STATE_ABORTED:
		return cell{text: "aborted", style: styleBad}
	case op.GetState() == agentv1.OperationState_OPERATION_STATE_REFUSED || refusedOperation(s):
		return cell{text: "refused", style: styleBad}
	}
	if s.GetHost().GetAppliedNodeDigest() == "" {
		return cell{text: "none", style: styleWait}
	}
	return cell{text: "NotReady", style: styleBad}
}

// refusedOperation says whether a host that is no node has refused an operation
// before it could tell which.
func refusedOperation(s *planev1.EdgeHostStatus) bool {
	for _, c := range s.GetConditions() {
		if c.GetType() == "OperationRunning" && c.GetReason() == "Refused" {
			return s.GetHost().GetAppliedNodeDigest() == "" && !speaksOf(c.GetMessage(), s.GetNetworkSwitch().GetProgress())
		}
	}
	return false
}

// speaksOf says whether a condition's words are about an operation.
func speaksOf(words string, p *agentv1.OperationProgress) bool {
	return p.GetOperationId() != "" && strings.Contains(words, p.GetOperationId()) ||
		p.GetMessage() != "" && strings.Contains(words, p.GetMessage())
}

func tokenRow(t *table, r *planev1.Resource, now time.Time) {
	t.head = []string{"NAME", "STATE", "USED", "EXPIRES"}
	spec, s := r.GetEnrollmentToken(), r.GetEnrollmentTokenStatus()
	state := cell{text: "active", style: styleGood}
	switch {
	case s.GetRevoked():
		state = cell{text: "revoked", style: styleBad}
	case now.After(spec.GetExpiresAt().AsTime()):
		state = cell{text: "expired", style: styleBad}
	case s.GetUsed() >= spec.GetUses():
		state = cell{text: "used up", style: styleWait}
	}
	t.add(text(r.GetMetadata().GetName()), state, text(fmt.Sprintf("%d/%d", s.GetUsed(), spec.GetUses())),
		text(spec.GetExpiresAt().AsTime().UTC().Format(time.RFC3339)))
}
