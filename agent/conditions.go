package agent

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Types of conditions, in the order in which they are shown.
const (
	ConditionRegistered       = "Registered"
	ConditionNICSelected      = "NICSelected"
	ConditionRoutesInstalled  = "RoutesInstalled"
	ConditionPathHealthy      = "PathHealthy"
	ConditionTimeSynced       = "TimeSynced"
	ConditionNodeReady        = "NodeReady"
	ConditionRepaveRequired   = "RepaveRequired"
	ConditionOperationRunning = "OperationRunning"
)

// Reasons that more than one condition uses.
const (
	reasonNotAssigned   = "NotAssigned"
	reasonNotInPool     = "NotInPool"
	reasonNotConfigured = "NotConfigured"
	reasonNoNIC         = "NoNIC"
)

const maxMessage = 1024

// verdict is a condition without its time.
type verdict struct {
	status  agentv1.ConditionStatus
	reason  string
	message string
}

func yes(reason, format string, args ...any) verdict {
	return verdict{agentv1.ConditionStatus_CONDITION_STATUS_TRUE, reason, fmt.Sprintf(format, args...)}
}

func no(reason, format string, args ...any) verdict {
	return verdict{agentv1.ConditionStatus_CONDITION_STATUS_FALSE, reason, fmt.Sprintf(format, args...)}
}

func unknown(reason, format string, args ...any) verdict {
	return verdict{agentv1.ConditionStatus_CONDITION_STATUS_UNKNOWN, reason, fmt.Sprintf(format, args...)}
}

// computeConditions is a pure function: the same facts give the same conditions,
// each without Since.
func computeConditions(f *facts, now time.Time) []*agentv1.Condition {
	all := []struct {
		kind string
		verdict
	}{
		{ConditionRegistered, registered(f, now)},
		{ConditionNICSelected, nicSelected(f)},
		{ConditionRoutesInstalled, routesInstalled(f)},
		{ConditionPathHealthy, pathHealthy(f)},
		{ConditionTimeSynced, timeSynced(f)},
		{ConditionNodeReady, nodeReady(f, now)},
		{ConditionRepaveRequired, repaveRequired(f)},
		{ConditionOperationRunning, operationRunning(f)},
	}
	out := make([]*agentv1.Condition, 0, len(all))
	for _, v := range all {
		out = append(out, &agentv1.Condition{Type: v.kind, Status: v.status, Reason: v.reason, Message: brief(v.message, maxMessage)})
	}
	return out
}

// brief cuts a text to at most most bytes and keeps it valid UTF-8.
func brief(text string, most int) string {
	text = strings.ToValidUTF8(text, "")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most-len("…")], "") + "…"
	}
	return text
}

// carrySince gives each condition the time of its last change of status.
func carrySince(before, after []*agentv1.Condition, now time.Time) []*agentv1.Condition {
	for _, c := range after {
		c.Since = timestamppb.New(now)
		for _, old := range before {
			if old.GetType() == c.GetType() && old.GetStatus() == c.GetStatus() {
				c.Since = old.GetSince()
			}
		}
	}
	return after
}

// Healthy says whether a condition is as it should be on a host that does its
// work: RepaveRequired false, OperationRunning any, the others true, or not asked
// for.
func Healthy(c *agentv1.Condition) bool {
	switch c.GetType() {
	case ConditionOperationRunning:
		return true
	case ConditionRepaveRequired:
		return c.GetStatus() != agentv1.ConditionStatus_CONDITION_STATUS_TRUE
	}
	return c.GetStatus() == agentv1.ConditionStatus_CONDITION_STATUS_TRUE || c.GetReason() == reasonNotConfigured
}

// unassigned answers for every stage that needs an assignment and has none.
func unassigned(f *facts) (verdict, bool) {
	switch {
	case f.assignment == nil && f.cacheErr != nil:
		return unknown("CacheLost", "%v", f.cacheErr), true
	case f.assignment == nil:
		return unknown(reasonNotAssigned, "the plane has sent no assignment yet"), true
	case !f.assignment.inPool() && f.provisioned == nil:
		return unknown(reasonNotInPool, "the host is in no NodePool; add its host ID to one"), true
	}
	return verdict{}, false
}
