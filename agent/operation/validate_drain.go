package operation

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// maxDrainTime bounds the times of drain options: longer than any operation, so
// that a typing error (days for seconds) is told and nothing useful is kept out.
const maxDrainTime = 24 * time.Hour

// validateDrain checks the drain options, where there are any. Whoever sends them
// sends every field: a time that is missing would silently mean none.
func validateDrain(op *agentv1.Operation) error {
	return checkDrain("operation "+op.GetId(), op.GetDrain())
}

// checkDrain checks drain options of what is named for messages.
func checkDrain(what string, drain *agentv1.DrainOptions) error {
	if drain == nil {
		return nil
	}
	if !wholeSeconds(drain.GetTimeout(), 0) {
		return Refuse(malformed, "%s has the drain timeout %s, not whole seconds from 0 to %s", what, durationText(drain.GetTimeout()), maxDrainTime)
	}
	if wait := drain.GetSkipWaitForDeleteTimeout(); !wholeSeconds(wait, time.Second) {
		return Refuse(malformed, "%s has the drain option skipWaitForDeleteTimeout %s, not whole seconds from 1s to %s", what, durationText(wait), maxDrainTime)
	}
	if grace := time.Duration(drain.GetGracePeriodSeconds()) * time.Second; grace > maxDrainTime {
		return Refuse(malformed, "%s has the drain option gracePeriod %s, more than %s", what, grace, maxDrainTime)
	}
	return nil
}

// wholeSeconds reports whether a time is set, in whole seconds, and from least to
// maxDrainTime.
func wholeSeconds(d *durationpb.Duration, least time.Duration) bool {
	if d.CheckValid() != nil || d.GetNanos() != 0 {
		return false
	}
	return d.AsDuration() >= least && d.AsDuration() <= maxDrainTime
}

// durationText is a time for a message.
func durationText(d *durationpb.Duration) string {
	if d == nil {
		return "(not set)"
	}
	return d.AsDuration().String()
}
