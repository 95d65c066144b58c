package drain

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"hybridagent/nodeadm/nodeapi"
)

// blocked says what keeps each pod that is left.
func (d *drainer) blocked(left []nodeapi.Pod, err error) *Blocked {
	b := &Blocked{Node: d.node, Begun: true, After: time.Since(d.begun), Total: len(d.seen)}
	if errors.Is(err, nodeapi.ErrUnreachable) {
		b.Err = err
	}
	for _, pod := range left {
		b.Pods = append(b.Pods, d.stuck(pod))
	}
	return b
}

func (d *drainer) stuck(pod nodeapi.Pod) Stuck {
	tried := d.seen[pod.UID]
	switch {
	case !pod.DeletionTimestamp.IsZero():
		return Stuck{Pod: pod, Why: Ending}
	case tried != nil && tried.err != nil && !errors.Is(tried.err, context.DeadlineExceeded):
		return explain(pod, tried.err)
	case tried != nil && tried.late:
		return Stuck{Pod: pod, Why: Arrived}
	}
	return Stuck{Pod: pod, Why: Ending}
}

// progress tells how many are left and what they wait for.
func (d *drainer) progress(left []nodeapi.Pod) {
	var names []string
	for i, pod := range left {
		if i == maxNamed {
			names = append(names, fmt.Sprintf("and %d more", len(left)-maxNamed))
			break
		}
		name := pod.String()
		if stuck := d.stuck(pod); len(stuck.Budgets) > 0 {
			name += " (PodDisruptionBudget " + strings.Join(stuck.Budgets, ", ") + ")"
		}
		names = append(names, name)
	}
	d.tell(fmt.Sprintf("%d of %d pods left: %s", len(left), len(d.seen), strings.Join(names, ", ")))
}

// finish tells what was done and what stays.
func (d *drainer) finish(s sorted) {
	text := fmt.Sprintf("all %d pods are gone", len(d.seen))
	for _, group := range []struct {
		what string
		pods []nodeapi.Pod
	}{{"static", s.static}, {"of DaemonSets", s.daemons}, {"not waited for", s.skipped}} {
		if len(group.pods) > 0 {
			text += fmt.Sprintf(", %d %s stay", len(group.pods), group.what)
		}
	}
	d.tell(text)
}

// tell says nothing twice in a row.
func (d *drainer) tell(text string) {
	if text != d.said {
		d.said = text
		d.say(text)
	}
}
