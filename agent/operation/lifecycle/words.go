package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
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
func (p *job) conclude(ctx context.Context, cause error, undone []error) string {
	var text strings.Builder
	text.WriteString(p.redactor.Redact(cause.Error()))
	if noted, err := p.noted(ctx); err == nil && noted {
		fmt.Fprintf(&text, "; the node is Kubernetes %s, as it was to become; %s", p.spec.GetKubernetesVersion(), p.leftOver())
		return text.String()
	}
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
		fmt.Fprintf(&text, "; the way back failed: %s; next action: %s", p.redactor.Redact(err.Error()), p.nextAction(undone))
		return text.String()
	}
	if p.op.GetKind() != agentv1.OperationKind_OPERATION_KIND_LEAVE {
		fmt.Fprintf(&text, "; the node is what it was: Kubernetes %s", p.former.KubernetesVersion)
		if p.decided.NoAPI {
			text.WriteString(", as far as can be told without the Kubernetes API; next action: see to it that the host reaches the Kubernetes API")
		}
	}
	return text.String()
}

// leftOver names what the step tidy should have removed.
func (p *job) leftOver() string {
	var left []string
	for _, path := range append(p.heldFiles(), p.configPath()) {
		if _, err := os.Lstat(path); err == nil {
			left = append(left, path)
		}
	}
	if len(left) == 0 {
		return "nothing is left over"
	}
	return "only what was needed on the way is left over; next action: remove " + strings.Join(left, " and ")
}

// nextAction is the one thing to do after a way back that failed. A node that was
// not brought back goes before one that is only cordoned.
func (p *job) nextAction(undone []error) string {
	worse := slices.DeleteFunc(slices.Clone(undone), func(err error) bool {
		// An error of before a restart is its text only.
		return strings.HasPrefix(err.Error(), "cannot take back step cordon:")
	})
	if len(worse) == 0 {
		return uncordonAction(p.decided.NodeName)
	}
	var named *nextActionError
	if errors.As(errors.Join(worse...), &named) {
		return named.action
	}
	return "see to it that the host reaches the Kubernetes API and AWS, then have it repeat what was in force (sudo hybrid-agent operation repair --force on the host)"
}

// uncordonAction is what to do where only the cordon is left.
func uncordonAction(node string) string {
	return "as soon as the Kubernetes API answers: kubectl uncordon " + node
}

// nextActionError is an error that knows what to do about it.
type nextActionError struct {
	error
	action string
}

func (n *nextActionError) Unwrap() error { return n.error }
