package rollout

import (
	"fmt"
	"slices"
	"time"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// step brings a running rollout as far as what is known of its hosts allows. next is
// the host whose operation is to be signed, "" for none; hosts are those of the pool
// in its order.
func (ro poolRollout) step(hosts []hostAt, now time.Time) (out poolRollout, next string) {
	if !ro.running() {
		return ro, ""
	}
	out = ro.clone()
	byID := map[string]hostAt{}
	for _, h := range hosts {
		byID[h.id] = h
	}
	// Who has left the pool has no turn; what it was at ends without us.
	out.Turns = slices.DeleteFunc(out.Turns, func(t turn) bool {
		_, in := byID[t.HostID]
		return !in
	})
	for i := range out.Turns {
		t := &out.Turns[i]
		h := byID[t.HostID]
		if t.State == turnUnderway {
			if why := t.settle(h, now); why != "" {
				return out.stop(why, now), ""
			}
		}
		if t.State == turnWaits {
			if s, _ := h.stands(t.Force); s == standsDone {
				t.State = turnDone
			}
		}
	}
	if out.ended() {
		out.State, out.EndedAt = planev1.RolloutState_ROLLOUT_STATE_DONE, now
		return out, ""
	}
	return out, out.next(hosts, now)
}

// settle ends a turn whose operation has ended; why is set when that stops the
// rollout.
func (t *turn) settle(h hostAt, now time.Time) (why string) {
	if p := h.record.Pending; p != nil && p.ID == t.OperationID {
		if now.Sub(t.Since) < repaveAnswer {
			return ""
		}
		t.State = turnFailed
		return fmt.Sprintf("host %s has not told the end of its repave within %s; look at it with 'hybrid-agent operation show' there, or take it out of the pool where it is lost", t.HostID, repaveAnswer)
	}
	last := h.record.Last
	if last == nil || last.ID != t.OperationID {
		t.State = turnWaits // withdrawn: the pool wants another node part by now
		return ""
	}
	if last.State != agentv1.OperationState_OPERATION_STATE_SUCCEEDED {
		t.State = turnFailed
		return fmt.Sprintf("host %s: %s", t.HostID, last.words())
	}
	t.State = turnDone
	if last.NodeDigest != h.view.Assignment.GetNodeDigest() {
		t.State, t.Force, t.ReconfigureOnly = turnWaits, false, false // the pool changed meanwhile
	}
	return ""
}

// words are how an operation that did not succeed ended.
func (o *order) words() string {
	name := kindWord(o.kind())
	at := ""
	if o.Step != "" {
		at = " at " + o.Step
	}
	switch o.State {
	case agentv1.OperationState_OPERATION_STATE_REFUSED:
		return fmt.Sprintf("%s %s was refused: %s", name, o.ID, o.Message)
	case agentv1.OperationState_OPERATION_STATE_ABORTED:
		return fmt.Sprintf("%s %s was aborted%s: %s", name, o.ID, at, o.Message)
	default:
		return fmt.Sprintf("%s %s failed%s: %s", name, o.ID, at, o.Message)
	}
}

func (ro poolRollout) stop(why string, now time.Time) poolRollout {
	ro.State, ro.Message, ro.EndedAt = planev1.RolloutState_ROLLOUT_STATE_STOPPED, why, now
	return ro
}

func (ro poolRollout) ended() bool {
	return !slices.ContainsFunc(ro.Turns, func(t turn) bool { return t.State == turnWaits || t.State == turnUnderway })
}

// next is the first host in the pool's order that can be repaved, while no other of
// the pool is. One that is about to answer is waited for a while: whoever tries a
// version on the first host of a pool does not want another to be the first.
func (ro poolRollout) next(hosts []hostAt, now time.Time) string {
	if busy(hosts) != nil {
		return ""
	}
	for _, h := range hosts {
		t, ok := ro.turn(h.id)
		if !ok || t.State != turnWaits {
			continue
		}
		switch s, _ := h.stands(t.Force); {
		case s == standsReady:
			return h.id
		case h.answers() && now.Sub(ro.StartedAt) < answerTime:
			return ""
		}
	}
	return ""
}

// busy is a host of the pool whose pods are being moved; nil: none. What was signed
// counts, whether or not the host has been heard of since.
func busy(hosts []hostAt) *hostAt {
	for i, h := range hosts {
		if p := h.record.Pending; p != nil && drains(p.kind()) {
			return &hosts[i]
		}
	}
	return nil
}

// begin gives hosts a turn, in place of what was before; a turn that is under way
// goes on. choose says which hosts, and how.
func (ro poolRollout) begin(hosts []hostAt, choose func(hostAt) (in bool, how Manner), now time.Time) poolRollout {
	former := ro
	ro.Turns, ro.Message, ro.StartedAt, ro.EndedAt = nil, "", now, time.Time{}
	if former.running() {
		ro.StartedAt = former.StartedAt
	}
	for _, h := range hosts {
		in, how := choose(h)
		was, had := former.turn(h.id)
		p := h.record.Pending
		switch {
		case p != nil && repaves(p.kind()) && (in || had && was.State == turnUnderway):
			ro.Turns = append(ro.Turns, turn{HostID: h.id, State: turnUnderway, Force: how.Force || was.Force, OperationID: p.ID, Since: now})
		case in:
			ro.Turns = append(ro.Turns, turn{HostID: h.id, State: turnWaits, Force: how.Force, ReconfigureOnly: how.ReconfigureOnly})
		case had && former.running():
			ro.Turns = append(ro.Turns, was)
		}
	}
	ro.State = planev1.RolloutState_ROLLOUT_STATE_RUNNING
	if len(ro.Turns) == 0 {
		ro.State = former.State
		if former.State != 0 {
			ro.State, ro.EndedAt = planev1.RolloutState_ROLLOUT_STATE_DONE, now
		} else {
			ro.StartedAt = time.Time{}
		}
	}
	return ro
}
