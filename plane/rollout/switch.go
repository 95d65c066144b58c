package rollout

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/types/known/durationpb"

	"hybridagent/plane/fleet"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

const (
	// switchDeadline is how long a host may work on a live network switch: it
	// measures, tries the new network for less than a minute, and measures again.
	switchDeadline = 3 * time.Minute
	// answerWithin is how long the plane waits for the end of one. A host that lost
	// its way to the plane is back on the former network long before.
	answerWithin = 10 * time.Minute
	// overdueCheck is how often the plane looks for hosts that have not answered.
	overdueCheck = 2 * time.Second
)

// ErrGone says that the host is not enrolled.
var ErrGone = errors.New("the host is not enrolled")

// OfflineError says that a host has no stream, and since when.
type OfflineError struct{ Since time.Time }

func (e *OfflineError) Error() string {
	return "it is not connected since " + e.Since.UTC().Format(time.RFC3339)
}

// BusyError says which operation of a host is under way.
type BusyError struct {
	ID    string
	Kind  agentv1.OperationKind
	Since time.Time
}

func (e *BusyError) Error() string {
	since := ""
	if !e.Since.IsZero() {
		since = ", since " + e.Since.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("an operation is under way: %s %s%s", kindWord(e.Kind), e.ID, since)
}

// kindWord is a kind for people: live network switch.
func kindWord(k agentv1.OperationKind) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(k.String(), "OPERATION_KIND_"), "_", " "))
}

// Switch signs a live network switch of a host to VPN servers and sends it;
// former are those that its pool has for it now. It answers the operation's ID,
// ErrGone, an OfflineError or a BusyError.
func (c *Controller) Switch(ctx context.Context, hostID string, servers, former []string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.cfg.Hosts.View(hostID)
	if !ok {
		return "", ErrGone
	}
	r := c.record(hostID)
	if err := refuseSwitch(r, v); err != nil {
		return "", err
	}
	change := &switchOrder{VPNServers: servers, Former: former, AnswerBy: c.cfg.Now().Add(answerWithin)}
	next, err := c.sign(r, v, &agentv1.Operation{
		Kind:          agentv1.OperationKind_OPERATION_KIND_LIVE_NETWORK_SWITCH,
		NetworkSwitch: &agentv1.NetworkSwitch{VpnServers: servers},
		Deadline:      durationpb.New(switchDeadline),
	}, change)
	if err != nil {
		return "", err
	}
	if err := c.save(ctx, hostID, &next); err != nil {
		return "", err
	}
	c.cfg.Log.Info("live network switch is signed", zap.String("host_id", hostID), zap.String("op_id", next.Pending.ID), zap.Strings("vpn_servers", servers))
	return next.Pending.ID, c.send(hostID, next, v)
}

// refuseSwitch: one operation at a time, and only while the host can answer. A
// provisioning of which the host has not said a word, and which it would not be
// sent any more, stands in nobody's way: a host whose path is broken by a wrong
// VPN server could not be mended else.
func refuseSwitch(r record, v fleet.View) error {
	if p := r.Pending; p != nil && (p.Switch != nil || wanted(&r, v) || v.Operation.GetOperationId() == p.ID) {
		return &BusyError{ID: p.ID, Kind: p.kind(), Since: p.SignedAt}
	}
	if v.Stream == 0 {
		return &OfflineError{Since: v.Since}
	}
	return nil
}

// decideSwitch: a live network switch is sent to each new stream until it has
// ended; a host that knows it already answers with its end. An operator asks for
// it, and nothing takes its place.
func decideSwitch(r *record, v fleet.View) action {
	if v.Stream != 0 && v.Stream != r.sentOn && r.Pending.EnrolledAt == v.EnrolledAt {
		return actSend
	}
	return actNothing
}

// settle ends what has ended: by the host's word, by its silence, or because the
// host is another one. known says whether the host is enrolled.
func settle(r record, v fleet.View, known bool, now time.Time) (record, *order) {
	for _, p := range []*agentv1.OperationProgress{v.NetworkSwitch, v.Operation} {
		if next, ended := conclude(r, p, now); ended != nil {
			return next, ended
		}
	}
	if next, ended := concludeAbort(r, v, now); ended != nil {
		return next, ended
	}
	if next, ended := giveUp(r, v, known, now); ended != nil {
		return next, ended
	}
	return lateSuccess(r, v.NetworkSwitch, now)
}

// giveUp ends a live network switch to which no answer will come.
func giveUp(r record, v fleet.View, known bool, now time.Time) (record, *order) {
	p := r.Pending
	if p == nil || p.Switch == nil {
		return r, nil
	}
	why := ""
	switch {
	case !known:
		why = "the host was removed from the plane before it answered"
	case v.Stream != 0 && v.EnrolledAt != p.EnrolledAt:
		why = "the host was enrolled anew before it answered"
	case !now.Before(p.Switch.AnswerBy):
		why = fmt.Sprintf("the host has not told the end within %s; look at it with 'hybrid-agent status' there, then ask again", answerWithin)
		if words := v.Refusal(); words != "" {
			why += "; it reports: " + words
		}
	default:
		return r, nil
	}
	o := *p
	o.State, o.Message, o.EndedAt = agentv1.OperationState_OPERATION_STATE_FAILED, why, now
	return r.end(o)
}

// lateSuccess takes the success of a live network switch that the plane had given
// up or taken for failed: the host has that network, and the pool has to say so.
func lateSuccess(r record, p *agentv1.OperationProgress, now time.Time) (record, *order) {
	last := r.LastSwitch
	const succeeded = agentv1.OperationState_OPERATION_STATE_SUCCEEDED
	if last == nil || last.State == succeeded || p.GetOperationId() != last.ID || p.GetState() != succeeded ||
		r.Pending != nil && r.Pending.Switch != nil {
		return r, nil
	}
	o := last.as(p, now)
	r.LastSwitch = &o
	return r, &o
}

// watchOverdue has hosts looked at whose answer is due, and pools whose rollout runs,
// until the context ends.
func (c *Controller) watchOverdue(ctx context.Context) {
	tick := time.NewTicker(overdueCheck)
	defer tick.Stop()
	for {
		for _, id := range c.overdue(c.cfg.Now()) {
			c.cfg.Hosts.Changed(id)
		}
		c.lookRollouts(ctx, true)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (c *Controller) overdue(now time.Time) []string {
	c.recordsMu.RLock()
	defer c.recordsMu.RUnlock()
	var out []string
	for id, r := range c.records {
		p := r.Pending
		if p != nil && p.Switch != nil && !now.Before(p.Switch.AnswerBy) || r.Abort != nil && now.Sub(r.Abort.SignedAt) >= abortAnswer {
			out = append(out, id)
		}
	}
	return out
}
