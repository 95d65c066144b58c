package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"strings"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// verb is what the operation does, for messages.
func (p *job) verb() string {
	switch p.op.GetKind() {
	case agentv1.OperationKind_OPERATION_KIND_REPAVE:
		return "repave"
	case agentv1.OperationKind_OPERATION_KIND_RECONFIGURE:
		return "reconfigure"
	case agentv1.OperationKind_OPERATION_KIND_LEAVE:
		return "leave"
	}
	return "provision"
}

// conclude words the end of an operation that failed or was aborted: why, what
// the host is now, and what to do next.
func (p *job) conclude(_ context.Context, cause error, undone []error) string {
	var text strings.Builder
	text.WriteString(p.redactor.Redact(cause.Error()))
	if !p.known || p.op.GetKind() == agentv1.OperationKind_OPERATION_KIND_PROVISION {
		var named *nextActionError
		if err := errors.Join(undone...); errors.As(err, &named) {
			fmt.Fprintf(&text, "; the way back failed: %s; next action: %s", p.redactor.Redact(err.Error()), named.action)
		} else if err != nil {
			fmt.Fprintf(&text, "; beside that: %v", err)
		}
		return text.String()
	}
	if p.op.GetKind() == agentv1.OperationKind_OPERATION_KIND_LEAVE && p.leaving() {
		text.WriteString("; the host is past the point of return: correct that and have the host leave again")
		return text.String()
	}
	if err := errors.Join(undone...); err != nil {
		fmt.Fprintf(&text, "; the way back failed: %s; next action: %s", p.redactor.Redact(err.Error()), p.nextAction(err))
		return text.String()
	}
	if p.op.GetKind() != agentv1.OperationKind_OPERATION_KIND_LEAVE {
		fmt.Fprintf(&text, "; the node is what it was: Kubernetes %s", p.former.KubernetesVersion)
	}
	return text.String()
}

// nextAction is the one thing to do after a way back that failed.
func (p *job) nextAction(err error) string {
	var named *nextActionError
	if errors.As(err, &named) {
		return named.action
	}
	return "see to it that the host reaches the Kubernetes API and AWS, then have it repeat what was in force (sudo hybrid-agent operation repair --force on the host)"
}

// nextActionError is an error that knows what to do about it.
type nextActionError struct {
	error
	action string
}

func (n *nextActionError) Unwrap() error { return n.error }
