package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// ErrNothingToRepave says that every host named is what its pool wants.
var ErrNothingToRepave = errors.New("every node is what the pool wants")

// ErrNoPool says that there is no such pool.
var ErrNoPool = errors.New("there is no such pool")

// maxMessage bounds RolloutStatus.message and RepaveHost.reason, in bytes.
const maxMessage = 1024

// Manner says how a repave goes.
type Manner struct {
	// Force repeats what is in force, also where the Kubernetes API does not answer.
	Force bool
	// ReconfigureOnly refuses whatever needs a drain.
	ReconfigureOnly bool
}

// Plan answers what a repave of hosts of a pool would do, in the order in which it
// would be done; no host named: all. It answers ErrNoPool.
func (c *Controller) Plan(pool string, only []string, force bool) ([]*planev1.RepaveHost, error) {
	p, ok := c.cfg.Hosts.Pool(pool)
	if !ok {
		return nil, ErrNoPool
	}
	c.recordsMu.RLock()
	defer c.recordsMu.RUnlock()
	return plan(c.hostsOf(p), only, force), nil
}

func plan(hosts []hostAt, only []string, force bool) []*planev1.RepaveHost {
	var out []*planev1.RepaveHost
	for _, h := range hosts {
		if len(only) > 0 && !slices.Contains(only, h.id) {
			continue
		}
		s, why := h.stands(force)
		f := h.view.Status.GetForecast()
		if f.GetNodeDigest() != h.view.Assignment.GetNodeDigest() {
			f = nil // made for another node part
		}
		if p := h.record.Pending; p != nil && repaves(p.kind()) {
			s, why = standsReady, fmt.Sprintf("%s %s is under way", kindWord(p.kind()), p.ID)
		} else if s == standsReady && f.GetRefusal() != "" {
			why = "at this moment the host would refuse it: " + f.GetRefusal()
		}
		out = append(out, &planev1.RepaveHost{
			HostId: h.id, Repave: s != standsDone, Reason: clipped(why), Forecast: f, Fields: h.view.Status.GetRepaveFields(),
		})
	}
	return out
}

// Repave starts, or goes on with, the repave of hosts of a pool; no host named: all.
// It answers what will be done, ErrNoPool or ErrNothingToRepave.
func (c *Controller) Repave(ctx context.Context, pool string, only []string, how Manner) ([]*planev1.RepaveHost, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.cfg.Hosts.Pool(pool)
	if !ok {
		return nil, ErrNoPool
	}
	for _, id := range p.Hosts {
		c.sendAgain(id)
	}
	hosts := c.hostsOf(p)
	planned := plan(hosts, only, how.Force)
	if !slices.ContainsFunc(planned, (*planev1.RepaveHost).GetRepave) {
		return planned, ErrNothingToRepave
	}
	was := c.rollout(pool)
	ro := c.notice(was, p).begin(hosts, func(h hostAt) (bool, Manner) {
		i := slices.IndexFunc(planned, func(r *planev1.RepaveHost) bool { return r.GetHostId() == h.id })
		return i >= 0 && planned[i].GetRepave(), how
	}, c.cfg.Now())
	if err := c.saveRollout(ctx, pool, was, ro); err != nil {
		return nil, err
	}
	c.cfg.Log.Info("repave of a pool is asked for", zap.String("pool", pool), zap.Int("hosts", len(ro.Turns)), zap.Bool("force", how.Force), zap.Bool("reconfigure_only", how.ReconfigureOnly))
	if err := c.lookPool(ctx, pool); err != nil {
		c.cfg.Log.Error("rollout of a pool waits", zap.String("pool", pool), zap.Error(err))
	}
	return planned, nil
}

// sendAgain has a repave sent once more that its host has refused without being able
// to name it, as Retry does.
func (c *Controller) sendAgain(id string) {
	r := c.records[id]
	if r == nil || r.Pending == nil || !repaves(r.Pending.kind()) {
		return
	}
	if v, _ := c.cfg.Hosts.View(id); retryable(r, v) {
		next := *r
		next.sentOn = 0
		c.keep(id, &next)
		c.cfg.Hosts.Changed(id)
	}
}

// Rollout answers how far the repave of a pool is; nil: there was none.
func (c *Controller) Rollout(pool string) *planev1.RolloutStatus {
	p, ok := c.cfg.Hosts.Pool(pool)
	c.recordsMu.RLock()
	defer c.recordsMu.RUnlock()
	ro := c.rollout(pool)
	if !ok || ro.State == 0 || !ro.MadeAt.Equal(p.MadeAt) {
		return nil
	}
	out := &planev1.RolloutStatus{State: ro.State, Hosts: uint32(len(ro.Turns)), Message: clipped(ro.Message)}
	if !ro.StartedAt.IsZero() {
		out.StartedAt = timestamppb.New(ro.StartedAt)
	}
	for _, t := range ro.Turns {
		switch t.State {
		case turnDone:
			out.Done++
		case turnUnderway:
			out.Current = t.HostID
		}
	}
	if ro.running() {
		out.Message = clipped(c.waitsFor(ro, c.hostsOf(p)))
	}
	return out
}

// waitsFor says what a running rollout waits for.
func (c *Controller) waitsFor(ro poolRollout, hosts []hostAt) string {
	if h := busy(hosts); h != nil {
		return fmt.Sprintf("host %s: %s", h.id, h.record.Pending.goes(h.view.Operation, h))
	}
	first, more := "", 0
	for _, h := range hosts {
		t, ok := ro.turn(h.id)
		if !ok || t.State != turnWaits {
			continue
		}
		s, why := h.stands(t.Force)
		if s == standsReady {
			why = c.images.problem(h.view.Assignment.GetNode().GetOsImage().GetUri())
		}
		switch {
		case first == "":
			first = fmt.Sprintf("host %s waits: %s", h.id, why)
		default:
			more++
		}
	}
	if more > 0 {
		return fmt.Sprintf("%s; and %d more", first, more)
	}
	return first
}

// goes says how far an operation is by the host's last word.
func (o *order) goes(said *agentv1.OperationProgress, h *hostAt) string {
	name := fmt.Sprintf("%s %s", kindWord(o.kind()), o.ID)
	switch {
	case said.GetOperationId() == o.ID && said.GetStep() != "":
		return fmt.Sprintf("%s is at %s, %d %%", name, said.GetStep(), said.GetPercent())
	case said.GetOperationId() == o.ID:
		return name + " is accepted"
	case h.view.RefusedOne():
		return fmt.Sprintf("%s is not accepted; the host reports: %s", name, h.view.Refusal())
	case h.view.Stream == 0:
		return name + " is signed; the host is not connected"
	default:
		return name + " is sent; the host has not answered yet"
	}
}

func clipped(text string) string {
	if len(text) <= maxMessage {
		return text
	}
	cut := []rune(text[:maxMessage-len("…")-3])
	return string(cut) + "…"
}
