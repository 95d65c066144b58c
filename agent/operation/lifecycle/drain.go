package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"hybridagent/agent/operation/engine"
	"hybridagent/nodeadm/drain"
	"hybridagent/nodeadm/nodeapi"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// cordonMark tells our cordon from an administrator's. It is the same for every
// operation, so that one takes over what an earlier one could not take back.
const cordonMark = "hybrid-agent"

// drainSteps move the pods away, where the path asks for it. Without the API
// nothing can be moved; that was forced.
func (p *job) drainSteps() []engine.Step {
	if !p.decided.Drain || p.decided.NoAPI {
		return nil
	}
	return []engine.Step{
		{Name: "cordon", What: "keep new pods off the node", Expected: time.Second, Deadline: apiDeadline, Attempts: 3, Do: p.cordon, Undo: p.undoCordon, UndoDeadline: p.OutageDeadline + apiDeadline, UndoAttempts: 5},
		{Name: "drain", What: "move the pods away", Expected: p.drainExpected(), Do: p.drain},
	}
}

// drainExpected guesses the time of a drain: pods mostly end before their grace
// period does.
func (p *job) drainExpected() time.Duration {
	const usual = 20 * time.Second
	if timeout := p.op.GetDrain().GetTimeout(); timeout != nil && timeout.AsDuration() > 0 {
		return min(usual, timeout.AsDuration())
	}
	return usual
}

// checkDrain asks the API once what would keep the drain from its end.
func (p *job) checkDrain(ctx context.Context) error {
	if !p.decided.Drain || p.decided.NoAPI {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, apiDeadline)
	defer cancel()
	err := p.cluster(func(c Cluster) error { return c.CheckDrain(ctx, p.decided.NodeName, p.op.GetDrain()) })
	if err != nil {
		return &engine.Permanent{Err: fmt.Errorf("cannot %s: the node cannot be drained: %w", p.verb(), err)}
	}
	return nil
}

// drainPolls is how many of the Node's polls pass between two looks at what keeps a
// drain: each asks for the eviction of every pod.
const drainPolls = 5

// awaitDrain waits as long as a drain may last until its dry run finds nothing in
// its way that may pass, such as a PodDisruptionBudget that allows no disruption at
// the moment. Meanwhile the node keeps its pods and takes new ones.
func (p *job) awaitDrain(ctx context.Context, run engine.Run) error {
	limit := drain.FromProto(p.op.GetDrain()).Timeout
	bounded, cancel := ctx, context.CancelFunc(func() {})
	if limit > 0 {
		bounded, cancel = context.WithTimeout(ctx, limit)
	}
	defer cancel()
	var last error
	err := waitEvery(bounded, drainPolls*p.PollInterval, run, func() error {
		err := p.checkDrain(bounded)
		if !passes(err) {
			return err
		}
		if last == nil || err.Error() != last.Error() {
			p.tell(run, "waiting, with the node as it is: %v", err)
		}
		last = err
		return &awaited{err}
	})
	if last != nil && bounded.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("%w; that was waited for during %s, the drain's timeout", last, limit)
	}
	return err
}

// passes says whether all that keeps a drain may pass by itself.
func passes(err error) bool {
	var blocked *drain.Blocked
	return errors.As(err, &blocked) && !slices.ContainsFunc(blocked.Pods, func(s drain.Stuck) bool {
		return s.Why == drain.DaemonSet || s.Why == drain.LocalData || s.Why == drain.Unmanaged || s.Why == drain.Forbidden
	})
}

// cordons says whether the node is to be cordoned; the profile may forbid it where
// nodeadm does not insist.
func (p *job) cordons() bool {
	leaves := p.op.GetKind() == agentv1.OperationKind_OPERATION_KIND_LEAVE
	return leaves || p.op.GetDrain() == nil || p.op.GetDrain().GetCordon()
}

func (p *job) cordon(ctx context.Context, run engine.Run) error {
	return p.cordonNode(ctx, run, p.decided.NodeName)
}

func (p *job) cordonNode(ctx context.Context, run engine.Run, name string) error {
	if !p.cordons() {
		p.tell(run, "the profile says cordon: false: new pods may come while the node is drained")
		return nil
	}
	run.Say("cordoning node " + name)
	return p.cluster(func(c Cluster) error {
		already, err := c.Cordon(ctx, name, cordonMark)
		if err != nil || !already {
			return err
		}
		// It may be ours, of before a restart.
		node, err := c.Node(ctx, name)
		if err == nil && node.CordonedBy != cordonMark {
			p.tell(run, "node %s was cordoned already, not by hybrid-agent: it stays so afterwards", name)
		}
		return err
	})
}

func (p *job) drain(ctx context.Context, run engine.Run) error {
	return p.drainNode(ctx, run, p.decided.NodeName)
}

func (p *job) drainNode(ctx context.Context, run engine.Run, name string) error {
	run.Say("draining node " + name)
	say := func(text string) {
		run.Say(text)
		p.tell(run, "%s", text)
	}
	err := p.cluster(func(c Cluster) error { return c.Drain(ctx, name, p.op.GetDrain(), say) })
	if err != nil && ctx.Err() == nil {
		// It was tried until the drain's own timeout.
		return &engine.Permanent{Err: err}
	}
	return err
}

// undoUncordon empties the node once more before the way back: pods may have come
// since it was uncordoned, and nodeadm is told not to look for them. Pods that
// cannot be moved are no reason to leave the node between two versions.
func (p *job) undoUncordon(ctx context.Context, run engine.Run) error {
	if same, err := p.untouched(ctx); err != nil || same || p.rebooted() {
		return err
	}
	name, err := p.nodeName(p.spec)
	if err != nil {
		return err
	}
	err = p.cordonNode(ctx, run, name)
	if err == nil {
		err = p.drainNode(ctx, run, name)
	}
	if err != nil {
		p.tell(run, "returning although pods may be on the node: %v", err)
	}
	return nil
}

func (p *job) uncordon(ctx context.Context, run engine.Run) error {
	name, err := p.nodeName(p.spec)
	if err != nil {
		return err
	}
	run.Say("uncordoning node " + name)
	return p.uncordonNode(ctx, run, name)
}

// undoCordon takes our cordon back from the former node; a Node that is gone has
// none. It waits for an API that is away, but where the way back has done so in
// vain, or another network is there.
func (p *job) undoCordon(ctx context.Context, run engine.Run) error {
	_, err := p.readHeld()
	return waitEvery(ctx, p.PollInterval, run, func() error {
		bounded, cancel := context.WithTimeout(ctx, apiDeadline)
		defer cancel()
		failed := p.uncordonNode(bounded, run, p.decided.NodeName)
		if passesByItself(failed) && errors.Is(err, fs.ErrNotExist) && p.sameNetwork() {
			return &awaited{failed}
		}
		return failed
	})
}

func (p *job) uncordonNode(ctx context.Context, run engine.Run, name string) error {
	err := p.cluster(func(c Cluster) error {
		_, err := c.Uncordon(ctx, name, cordonMark)
		return err
	})
	if err == nil || errors.Is(err, nodeapi.ErrNoNode) {
		return nil
	}
	return &nextActionError{
		fmt.Errorf("cannot uncordon node %s: %w", name, err),
		uncordonAction(name),
	}
}
