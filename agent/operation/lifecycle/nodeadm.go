package lifecycle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"hybridagent/agent/operation/engine"
	"hybridagent/agent/operation/runner"
	"hybridagent/agent/store"
	"hybridagent/nodeadm"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// keptLines is how many lines of a run are kept for judging it.
const keptLines = 200

// Name and schema of the file with the evidence from before a run.
const (
	evidenceFile   = "before-run"
	evidenceSchema = 1
)

// invocation is one command of nodeadm for one node part.
type invocation struct {
	command nodeadm.Command
	// spec is whose artifacts are served: the wanted node part, or the former one.
	spec *agentv1.NodeSpec
	// args makes the arguments for a manifest.
	args func(manifest string) ([]string, error)
}

// nodeadm runs one command and judges it. The error is *engine.Permanent where
// another try would fail the same way.
func (p *job) nodeadm(ctx context.Context, run engine.Run, call invocation) error {
	served, err := p.serve(ctx, call.spec)
	if err != nil {
		return err
	}
	defer served.Stop()
	if err := p.servedEnough(run, call, served); err != nil {
		return err
	}
	args, err := call.args(served.Manifest)
	if err != nil {
		return &engine.Permanent{Err: err}
	}
	before, err := p.before(ctx, run, call.command)
	if err != nil {
		return err
	}
	var lines []nodeadm.Line
	redact := p.redactor.Lines()
	onLine := func(raw string) {
		line := nodeadm.ParseLine(redact(raw))
		if line.Message == "" {
			return
		}
		lines = append(lines, line)
		if len(lines) > keptLines {
			lines = slices.Delete(lines, 0, len(lines)-keptLines)
		}
		run.Line(line.Text())
		p.Line(p.op.GetId(), line.Text())
	}
	began := time.Now()
	result, err := p.Runner.Run(ctx, runner.Command{
		ID: run.ID, OperationID: p.op.GetId(), Path: served.Nodeadm, Args: args, Env: p.environment(),
	}, onLine)
	if err != nil && !result.Deadline {
		return err
	}
	exit := nodeadm.Exit{Code: result.Code, Signal: result.Signal, Lines: lines}
	if result.Deadline {
		exit.Deadline = max(time.Since(began).Round(time.Second), time.Second)
	}
	err = errors.Join(p.judge(call.command, exit, before), err)
	if result.Deadline {
		return &ranOut{err}
	}
	return err
}

// ranOut is a run of nodeadm that was killed because its time was over.
type ranOut struct{ error }

func (r *ranOut) Unwrap() error { return r.error }

// serve makes what was staged for a node part available to nodeadm.
func (p *job) serve(ctx context.Context, spec *agentv1.NodeSpec) (Served, error) {
	if p.Artifacts == nil || spec == nil {
		return Served{Manifest: p.Manifest, Nodeadm: p.NodeadmPath, Stop: func() {}}, nil
	}
	return p.Artifacts.Open(ctx, spec)
}

// servedEnough refuses to install or upgrade with what was not staged although the
// operation staged it: nodeadm would go to the network, which may be gone by now, and
// there is a way back that needs none. On that way anything is better than nothing.
func (p *job) servedEnough(run engine.Run, call invocation, served Served) error {
	if served.Unstaged == nil || call.command != nodeadm.Install && call.command != nodeadm.Upgrade {
		return nil
	}
	if call.spec == p.spec && len(p.staged()) > 0 {
		return &engine.Permanent{Err: fmt.Errorf("cannot %s: what was fetched for it is there no more: %w; %s again", p.verb(), served.Unstaged, p.verb())}
	}
	p.tell(run, "nodeadm fetches by itself: %v", served.Unstaged)
	return nil
}

func (p *job) judge(command nodeadm.Command, exit nodeadm.Exit, before nodeadm.Evidence) error {
	after, err := nodeadm.ReadEvidence(p.Root, command)
	if err != nil {
		return err
	}
	_, tracker := nodeadm.ReadTracker(p.Root)
	err = nodeadm.Judge(command, exit, before, after, tracker)
	var failure *nodeadm.Failure
	if errors.As(err, &failure) && failure.Permanent {
		return &engine.Permanent{Err: err}
	}
	return err
}

// before returns the evidence from before the run. It is kept on disk: a run
// that outlived the last process may have written its files already.
func (p *job) before(ctx context.Context, run engine.Run, command nodeadm.Command) (nodeadm.Evidence, error) {
	path := filepath.Join(p.Dir, evidenceFile)
	active, err := p.Runner.Active(ctx, run.ID)
	if err != nil {
		return nil, err
	}
	var kept struct {
		Run      string           `json:"run"`
		Evidence nodeadm.Evidence `json:"evidence"`
	}
	if active {
		payload, err := store.Read(path, evidenceSchema)
		if err == nil && json.Unmarshal(payload, &kept) == nil && kept.Run == run.ID {
			return kept.Evidence, nil
		}
	}
	evidence, err := nodeadm.ReadEvidence(p.Root, command)
	if err != nil {
		return nil, err
	}
	kept.Run, kept.Evidence = run.ID, evidence
	payload, err := json.Marshal(kept)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the state before the run: %w", err)
	}
	return evidence, store.Write(path, evidenceSchema, payload)
}

// environment is nodeadm's whole environment: nothing of ours reaches it but
// what the configuration names.
func (p *job) environment() []string {
	env := map[string]string{
		"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/snap/bin",
		"HOME": "/root",
		"LANG": "C.UTF-8",
	}
	maps.Copy(env, p.Environment)
	var list []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}

// runProgram runs another program than nodeadm in the same way.
func (p *job) runProgram(ctx context.Context, run engine.Run, path string, args ...string) (runner.Result, error) {
	result, err := p.Runner.Run(ctx, runner.Command{
		ID: run.ID, OperationID: p.op.GetId(), Path: path, Args: args, Env: p.environment(),
	}, func(line string) { p.tell(run, "%s", line) })
	if err != nil && !result.Deadline {
		return result, err
	}
	return result, nil
}
