//go:build soak

package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	standin "hybridagent/test/fakenodeadm/lab"
)

// laneFault is what goes wrong on one host during one repave.
type laneFault struct {
	name string
	// upgrades asks for another Kubernetes version: only an upgrade meets the fault.
	upgrades bool
	// before is done before the repave is asked for, during while it runs; both may be nil, and answer what they did.
	before, during func(ctx context.Context, l *lane) (string, error)
}

// siteFault is what goes wrong for every host of the site while they are repaved.
type siteFault struct {
	name string
	// upgrades asks for another Kubernetes version on every host.
	upgrades bool
	// before is done before the repaves are asked for, during while they run; both may be nil.
	before func(ctx context.Context, s *site) error
	during func(ctx context.Context, s *site, rng *rand.Rand) (string, error)
}

// phases are the places in nodeadm's commands where the stand-in fails on demand.
func phases(upgrades bool) (command string, names []string) {
	if upgrades {
		return "upgrade", []string{
			"initialized", "load-config", "validate-config", "manifest", "drained", "cordoned", "aws_signing_helper", "kubelet", "kubectl", "image-credential-provider",
			"aws-iam-authenticator", "cni-plugins", "configure-aws", "describe-cluster", "containerd-config", "kubelet-config", "containerd-start", "ecr-token",
			"kubelet-start", "end",
		}
	}
	return "init", []string{
		"load-config", "validate-config", "configure-aws", "describe-cluster", "validations", "system-aspects", "containerd-config", "kubelet-config",
		"containerd-start", "ecr-token", "kubelet-start", "end",
	}
}

// once has nodeadm do that once in a phase of the command that the repave takes.
func once(action string) func(ctx context.Context, l *lane) (string, error) {
	return func(ctx context.Context, l *lane) (string, error) {
		command, names := phases(l.upgrading())
		phase := names[l.rng.IntN(len(names))]
		ms := 500 + l.rng.IntN(3000)
		return fmt.Sprintf("%s %s", command, phase), l.setNodeadm(ctx, standin.Fault{Command: command, Phase: phase, Action: action, Once: true, MS: ms})
	}
}

// always has nodeadm upgrade fail in one of these phases for the wanted version, and for no other: the way back is open.
func always(names ...string) func(ctx context.Context, l *lane) (string, error) {
	return func(ctx context.Context, l *lane) (string, error) {
		phase := names[l.rng.IntN(len(names))]
		return phase, l.setNodeadm(ctx, standin.Fault{Command: "upgrade", Phase: phase, Action: "fail", Version: l.wanted.kubernetes})
	}
}

// longest is how late into a repave harm begins: most take less than this.
const longest = 5 * time.Second

// backBy is how late the way back may have begun and still be under way.
const backBy = 20 * time.Second

// at does harm at a random moment of the repave, early ones more often: half of the time is spent waiting for the node in the end.
func at(harm func(ctx context.Context, l *lane) error) func(ctx context.Context, l *lane) (string, error) {
	return within(longest, harm)
}

func within(limit time.Duration, harm func(ctx context.Context, l *lane) error) func(ctx context.Context, l *lane) (string, error) {
	return func(ctx context.Context, l *lane) (string, error) {
		after := l.sleep(ctx, max(time.Millisecond, time.Duration(float64(limit)*l.rng.Float64())))
		return fmt.Sprintf("after %s", after), harm(ctx, l)
	}
}

func killOp(ctx context.Context, l *lane) error {
	err := l.edge.Op.Kill()
	l.sleep(ctx, time.Second)
	return errors.Join(err, l.edge.StartOp())
}

func cutPower(ctx context.Context, l *lane) error {
	err := l.edge.Host.PowerCut(ctx)
	l.sleep(ctx, time.Second)
	return errors.Join(err, l.boot(ctx))
}

func abort(ctx context.Context, l *lane) error { return l.abort(ctx) }

func laneFaults() []laneFault {
	return []laneFault{
		{name: "none"},
		{name: "nodeadm killed", before: once("kill")},
		{name: "nodeadm fails once", before: once("fail")},
		{name: "nodeadm slow", before: once("slow")},
		{name: "new version broken", upgrades: true, before: always("containerd-config", "kubelet-config", "containerd-start", "kubelet-start")},
		{name: "new version broken, hybrid-agent-op killed", upgrades: true, before: always("containerd-start", "kubelet-start"), during: within(backBy, killOp)},
		{name: "new version broken, power cut", upgrades: true, before: always("kubelet-config", "kubelet-start"), during: within(backBy, cutPower)},
		{name: "hybrid-agent-op killed", during: at(killOp)},
		{name: "daemon killed", during: at(func(ctx context.Context, l *lane) error {
			err := l.edge.Agent.Kill()
			l.sleep(ctx, time.Second)
			return errors.Join(err, l.edge.StartAgent())
		})},
		{name: "power cut", during: at(cutPower)},
		{name: "power cut, nodeadm slow", before: once("slow"), during: at(cutPower)},
		{name: "aborted", during: at(abort)},
		{name: "aborted, nodeadm slow", before: once("slow"), during: at(abort)},
		{name: "link down", during: at(func(ctx context.Context, l *lane) error {
			mend, err := l.s.Unplug(ctx, l.edge.Host.Name, "lan")
			if err != nil {
				return err
			}
			l.sleep(ctx, 4*time.Second)
			return mend(ctx)
		})},
	}
}

// abort asks hybridctl for it; a repave that has ended or is past its point of return may be refused.
func (l *lane) abort(ctx context.Context) error {
	got, err := l.s.operator.Try(ctx, "operation", "abort", l.id)
	if err == nil && got.Code != 0 && got.Code != 1 {
		err = fmt.Errorf("hybridctl operation abort ended with %d: %s", got.Code, got.Text)
	}
	l.s.t.Logf("lane %d: abort: exit code %d: %s", l.n, got.Code, got.Text)
	return err
}

// cloud has AWS or the Kubernetes API misbehave for a while.
func cloud(what, how string) func(ctx context.Context, s *site, rng *rand.Rand) (string, error) {
	return func(ctx context.Context, s *site, rng *rand.Rand) (string, error) {
		from, lasts := max(0, span(rng, 2500*time.Millisecond)-time.Second), time.Second+span(rng, 5*time.Second)
		if err := s.wait(ctx, from); err != nil {
			return "", err
		}
		err := s.aws.SetFaults(ctx, map[string]string{what: how})
		return fmt.Sprintf("after %s, for %s", from, lasts), errors.Join(err, s.wait(ctx, lasts), s.aws.SetFaults(ctx, nil))
	}
}

// fetchAgain lets every host forget the artifacts that it has staged, so that it must fetch them.
func fetchAgain(ctx context.Context, s *site) error {
	var errs []error
	for _, edge := range s.edges {
		_, err := edge.Host.Exec(ctx, "rm", "-rf", "/var/lib/hybrid-agent-op/staged")
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// artifacts has the server of the artifacts misbehave from before the repave on, for a while.
func artifacts(how string) siteFault {
	return siteFault{
		name: "artifacts " + how,
		before: func(ctx context.Context, s *site) error {
			return errors.Join(fetchAgain(ctx, s), s.aws.SetFaults(ctx, map[string]string{"artifacts": how}))
		},
		during: func(ctx context.Context, s *site, rng *rand.Rand) (string, error) {
			lasts := time.Second + span(rng, 9*time.Second)
			return fmt.Sprintf("for %s", lasts), errors.Join(s.wait(ctx, lasts), s.aws.SetFaults(ctx, nil))
		},
	}
}

// budget lets one pod be evicted and no more until it is opened: what a look beforehand does not tell.
func budget(name string, opens bool) siteFault {
	return siteFault{
		name:     name,
		upgrades: true, // a reconfiguration drains nothing
		before: func(ctx context.Context, s *site) error {
			pods := s.pods("")
			return errors.Join(s.aws.SetPods(ctx, pods...), s.aws.KeepAvailable(ctx, "till", "till-stays", len(pods)-1))
		},
		during: func(ctx context.Context, s *site, rng *rand.Rand) (string, error) {
			if !opens {
				return "never", nil
			}
			lasts := time.Second + span(rng, 2500*time.Millisecond)
			return fmt.Sprintf("after %s", lasts), errors.Join(s.wait(ctx, lasts), s.aws.Allow(ctx))
		},
	}
}

func siteFaults() []siteFault {
	return []siteFault{
		artifacts("404"), artifacts("badsum"), artifacts("stall"),
		{name: "ECR denied", during: cloud("ecr", "denied")},
		{name: "DescribeCluster down", during: cloud("describeCluster", "down")},
		{name: "Kubernetes API down", during: cloud("kubeAPI", "down")},
		{name: "Kubernetes API hangs", during: cloud("kubeAPI", "hang")},
		{name: "budget shut from the start", upgrades: true, before: func(ctx context.Context, s *site) error { return s.aws.Forbid(ctx, "till", "till-stays") }},
		budget("budget opens later", true), budget("budget stays shut", false),
		{name: "plane killed", during: func(ctx context.Context, s *site, rng *rand.Rand) (string, error) {
			from, off := span(rng, longest), span(rng, 3*time.Second)
			if err := s.wait(ctx, from); err != nil {
				return "", err
			}
			err := s.plane.Process.Kill()
			return fmt.Sprintf("after %s, for %s", from, off), errors.Join(err, s.wait(ctx, off), s.plane.Start(ctx))
		}},
	}
}

func span(rng *rand.Rand, limit time.Duration) time.Duration {
	return time.Duration(rng.Int64N(int64(limit))).Round(time.Millisecond)
}

// wait lets time go by, for goroutines that must not end the test.
func (s *site) wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
