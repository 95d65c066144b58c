package agent

import (
	"errors"
	"fmt"
	"time"

	"hybridagent/agent/identity"
	"hybridagent/agent/operation"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

func registered(f *facts, now time.Time) verdict {
	if f.hostID.ID == "" {
		return no("HostIDMissing", "hybrid-agent-op has not written the host ID yet; start hybrid-agent-op.service")
	}
	if !f.identity.Enrolled() {
		if f.enrollErr != nil {
			return no(identity.ReasonOf(f.enrollErr, identity.ReasonPlaneUnreachable), "%v", f.enrollErr)
		}
		return no("Enrolling", "the host is about to enrol")
	}
	until := f.identity.Certificate.NotAfter.UTC().Format(time.RFC3339)
	s := f.session
	switch {
	case s.Connected:
		return yes("Connected", "the stream to the plane is open; the host's certificate is valid until %s", until)
	case now.After(f.identity.Certificate.NotAfter):
		last := ""
		if s.LastError != nil {
			last = fmt.Sprintf(" (the last attempt: %v)", s.LastError)
		}
		return no("CertificateExpired", "the host's certificate ended %s; put a fresh enrolment token into the token file and restart hybrid-agent.service%s", until, last)
	case s.LastError == nil:
		return yes("Connecting", "the host's certificate is valid until %s; no stream to the plane yet", until)
	case s.LastReason == identity.ReasonPlaneUnreachable || s.LastReason == identity.ReasonBadAnswer:
		return yes("Disconnected", "the host works from its cache: %v", s.LastError)
	}
	return no(s.LastReason, "%v", s.LastError)
}

func repaveRequired(f *facts) verdict {
	if f.node.state == nil {
		return unknown("NodeUnknown", "what is applied to the node is not known yet")
	}
	fields := f.repaveFields()
	switch {
	case f.node.state.GetAppliedNodeDigest() == "":
		return no("NotProvisioned", "the host is no node yet")
	case len(fields) == 0:
		return no("UpToDate", "the node is what the plane wants")
	}
	return yes("FieldsDiffer", "the node differs from what the plane wants in %s; it stays as it is until \"hybridctl repave %s\" or another profile version brings it there", join(fields), f.assignment.msg.GetPool())
}

func operationRunning(f *facts) verdict {
	o := f.operation
	p := o.progress
	switch {
	case o.doorErr != nil:
		return no(doorReason(o.doorErr), "%v", o.doorErr)
	case o.running && p == nil:
		return yes("Submitted", "an operation was handed to hybrid-agent-op")
	case o.running:
		return yes("Running", "%s %s: %s", kindName(p.GetKind()), p.GetOperationId(), orText(p.GetStep(), "accepted"))
	case o.refused != nil:
		return no("Refused", "operation refused: %s", o.refused.GetMessage())
	case p == nil:
		return no("None", "no operation has run")
	case p.GetState() == agentv1.OperationState_OPERATION_STATE_ABORTED:
		return no("Aborted", "%s %s was aborted: %s", kindName(p.GetKind()), p.GetOperationId(), p.GetMessage())
	case succeeded(p):
		return no("Succeeded", "%s %s succeeded", kindName(p.GetKind()), p.GetOperationId())
	}
	return no("Failed", "%s %s failed at %s: %s", kindName(p.GetKind()), p.GetOperationId(), orText(p.GetStep(), "its start"), p.GetMessage())
}

// doorReason says why an operation waits: a door that is busy, one that could not,
// one that does not answer, or a clock by which no signature is valid.
func doorReason(err error) string {
	var refusal *operation.Refusal
	if !errors.As(err, &refusal) {
		return "DoorUnreachable"
	}
	switch refusal.Reason {
	case agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_PRECONDITION:
		return "ClockWrong"
	case agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_FAILED:
		return "DoorFailed"
	}
	return "DoorBusy"
}

func orText(text, fallback string) string {
	if text == "" {
		return fallback
	}
	return text
}
