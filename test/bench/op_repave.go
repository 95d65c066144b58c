package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	standin "hybridagent/test/fakenodeadm/lab"
	"hybridagent/test/lab"
	"hybridagent/test/lab/actors"
)

const (
	resumeTrials = 20
	resumeWarmUp = 2
	// idleFor is how long a program has been idle before its memory is looked at.
	idleFor = 5 * time.Second
)

// opOnSite measures root's program on a node of its own, in a real repave.
func opOnSite(ctx context.Context, e *env) (results []Result, err error) {
	s, err := newOpSite(ctx, e)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	overhead, err := s.overhead(ctx)
	if err != nil {
		return nil, err
	}
	resume, err := s.resume(ctx, e)
	if err != nil {
		return nil, err
	}
	memory, err := s.memory(ctx)
	if err != nil {
		return nil, err
	}
	return []Result{overhead, resume, memory}, nil
}

// overhead repaves with a nodeadm that takes a minute. The floor is nodeadm's time
// and the drain's; what is beyond it is ours, and the wait for a Node that stays
// Ready, which is told besides.
func (s *opSite) overhead(ctx context.Context) (Result, error) {
	slow := func(phase string, seconds int) standin.Fault {
		return standin.Fault{Command: "upgrade", Phase: phase, Action: "slow", MS: seconds * 1000}
	}
	err := errors.Join(
		s.setNodeadm(standin.Settings{Faults: []standin.Fault{slow("kubelet", 30), slow("containerd-start", 10), slow("kubelet-start", 10)}}),
		s.aws.SetPods(ctx, actors.Pod{Namespace: "till", Name: "till-a", Node: s.id}),
	)
	if err != nil {
		return Result{}, err
	}
	former, err := s.journal(ctx)
	if err != nil {
		return Result{}, err
	}
	if err := s.want(ctx, "1.1.0", actors.OlderKubernetes); err != nil {
		return Result{}, err
	}
	j, err := s.succeeded(ctx, former.ID)
	if err != nil {
		return Result{}, err
	}
	took := j.steps()
	var nodeadm time.Duration
	for step, d := range took {
		if strings.HasPrefix(step, "nodeadm-") {
			nodeadm += d
		}
	}
	total := j.Records[len(j.Records)-1].At.Sub(j.Records[0].At)
	peers := map[string]float64{
		"nodeadm": nodeadm.Seconds(), "drain": took["drain"].Seconds(), "node_ready": took["node-ready"].Seconds(),
		"ratio_without_ready": total.Seconds() / (nodeadm + took["drain"] + took["node-ready"]).Seconds(),
		"other":               (total - nodeadm - took["drain"] - took["node-ready"]).Seconds(),
	}
	return compare("op.repave_overhead", "s", total.Seconds(), (nodeadm + took["drain"]).Seconds(), 1.02, peers), nil
}

// steps is how long each step took, from its first intent to its end.
func (j opJournalOf) steps() map[string]time.Duration {
	begun, took := map[string]time.Time{}, map[string]time.Duration{}
	for _, r := range j.Records {
		switch _, again := begun[r.Step]; {
		case r.Kind == "intent" && !again:
			begun[r.Step] = r.At
		case r.Kind == "done":
			took[r.Step] = r.At.Sub(begun[r.Step])
		}
	}
	return took
}

// resume kills root's program in the middle of nodeadm, and measures from its start
// until it has begun the step anew. The floor starts a program that reads a file of
// the journal's size and ends.
func (s *opSite) resume(ctx context.Context, e *env) (Result, error) {
	if err := s.setNodeadm(standin.Settings{TimeScale: 0.05, Faults: []standin.Fault{{Command: "upgrade", Phase: "kubelet", Action: "slow", MS: 1000 * 1000}}}); err != nil {
		return Result{}, err
	}
	former, err := s.journal(ctx)
	if err != nil {
		return Result{}, err
	}
	if err := s.want(ctx, "1.2.0", actors.KubernetesVersion); err != nil {
		return Result{}, err
	}
	if err := s.atUpgrade(ctx, former.ID); err != nil {
		return Result{}, err
	}
	j, err := s.journal(ctx)
	if err != nil {
		return Result{}, err
	}
	path := filepath.Join("/var/lib/hybrid-agent-op/operations", j.ID+".journal")
	var ours, low []time.Duration
	for n := range e.trials(resumeTrials) + resumeWarmUp {
		took, err := s.resumeOnce(ctx, s.edge.Host.Path(path))
		if err != nil {
			return Result{}, err
		}
		begin := time.Now()
		if _, err := s.edge.Host.Exec(ctx, opFloor, "read", path); err != nil {
			return Result{}, err
		}
		if n >= resumeWarmUp {
			ours, low = append(ours, took), append(low, time.Since(begin))
		}
	}
	if err := s.setNodeadm(standin.Settings{TimeScale: 0.05}); err != nil {
		return Result{}, err
	}
	// nodeadm read its faults when it was started: the next one is quick.
	if err := errors.Join(s.edge.Op.Kill(), s.edge.StartOp()); err != nil {
		return Result{}, err
	}
	if _, err := s.succeeded(ctx, former.ID); err != nil {
		return Result{}, err
	}
	return compare("op.resume", "ms", millis(percentile(ours, 50)), millis(percentile(low, 50)), 0, nil), nil
}

// atUpgrade waits until nodeadm upgrade is at work for a new operation.
func (s *opSite) atUpgrade(ctx context.Context, former string) error {
	return s.until(ctx, "nodeadm upgrade", func(ctx context.Context) error {
		j, err := s.journal(ctx)
		if err != nil {
			return err
		}
		if last := j.Records[len(j.Records)-1]; j.ID == former || last.Kind != "intent" || last.Step != "nodeadm-upgrade" {
			return fmt.Errorf("operation %s is at %s %s", j.ID, last.Kind, last.Step)
		}
		return nil
	})
}

// resumeOnce kills root's program and starts it again; it answers after what time
// the journal had the intent of the step once more.
func (s *opSite) resumeOnce(ctx context.Context, path string) (time.Duration, error) {
	if err := s.edge.Op.Kill(); err != nil {
		return 0, err
	}
	before, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := s.edge.StartOp(); err != nil {
		return 0, err
	}
	bounded, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err = lab.Until(bounded, "the step to be begun anew", 200*time.Microsecond, func(context.Context) error {
		now, err := os.ReadFile(path)
		if err == nil && !strings.Contains(string(now[min(len(before), len(now)):]), `"intent"`) {
			err = errors.New("no intent yet")
		}
		return err
	})
	return time.Since(begin), err
}

// memory is what root's program occupies while nobody asks it anything.
func (s *opSite) memory(ctx context.Context) (Result, error) {
	used, err := rss(s.edge.Op.Pid)
	if err != nil {
		return Result{}, err
	}
	err = errors.Join(s.edge.Agent.Stop(10*time.Second), s.edge.Op.Stop(10*time.Second), s.edge.StartOp())
	if err != nil {
		return Result{}, err
	}
	low, err := s.edge.Host.Start("op-floor", s.edge.Host.Command(context.Background(), opFloor, "idle"))
	if err != nil {
		return Result{}, err
	}
	select {
	case <-time.After(idleFor):
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
	ours, errOurs := rss(s.edge.Op.Pid)
	floor, errLow := rss(low.Pid)
	if err := errors.Join(errOurs, errLow); err != nil {
		return Result{}, err
	}
	return compare("op.rss", "MiB", ours, floor, 0, map[string]float64{"after_operations": used}), nil
}
