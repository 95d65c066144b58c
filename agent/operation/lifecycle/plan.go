package lifecycle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"hybridagent/agent/operation/applied"
	"hybridagent/agent/operation/engine"
	"hybridagent/nodeadm"
	"hybridagent/nodeadm/change"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// job is one operation being planned or done.
type job struct {
	Options
	op *agentv1.Operation
	// spec, digest and nodeIP are what the operation brings about; spec is nil for
	// leave.
	spec           *agentv1.NodeSpec
	digest, nodeIP string
	// former is what is in force until the operation is recorded; known says whether
	// there is a record.
	former applied.State
	known  bool
	// decided is what the first planning found.
	decided  decision
	redactor *nodeadm.Redactor
}

// decision is what an operation keeps of its first planning: what it goes by
// however the host looks after a power cut. It holds no secret.
type decision struct {
	change.Choice
	// NodeName is the Node's name before the operation; empty where there was none.
	NodeName string
	// NoAPI says that the operation began without the Kubernetes API: forced.
	NoAPI bool
}

// Plan returns the plan of an operation: provision, repave, reconfigure or leave.
// kept is what the first planning kept, or nil. It is an engine.Planner but for the
// options.
func Plan(ctx context.Context, opt Options, op *agentv1.Operation, kept []byte) (engine.Plan, error) {
	p, err := newJob(opt.withDefaults(), op)
	if err != nil {
		return engine.Plan{}, err
	}
	if err := p.decide(ctx, kept); err != nil {
		return engine.Plan{}, &engine.Permanent{Err: err}
	}
	return p.plan()
}

func newJob(opt Options, op *agentv1.Operation) (*job, error) {
	p := &job{Options: opt, op: op, spec: op.GetNode(), digest: op.GetNodeDigest(), nodeIP: op.GetNodeIp()}
	var damaged *applied.DamagedError
	var err error
	p.former, p.known, err = applied.ReadState(opt.Dir)
	if errors.As(err, &damaged) {
		p.Log.Error("the record of what was applied was damaged", zap.String("op_id", op.GetId()), zap.Error(err))
	} else if err != nil {
		return nil, err
	}
	if p.repair() {
		if p.former.Node == nil {
			return nil, errors.New("cannot repave with what is in force: the record of this host does not tell it; repave it from the plane (hybridctl repave)")
		}
		p.spec, p.digest, p.nodeIP = p.former.Node, p.former.NodeDigest, p.former.NodeIP
	}
	p.redactor = nodeadm.NewRedactor(nodeadm.Secrets(op.GetNode())...)
	return p, nil
}

// repair says whether this is the repave of local root, which names no node part:
// it repeats what is in force.
func (p *job) repair() bool {
	return p.op.GetKind() == agentv1.OperationKind_OPERATION_KIND_REPAVE && p.op.GetNode() == nil
}

// recorded says whether this operation has reached its end already: what is done
// again after a crash has nothing to do any more.
func (p *job) recorded() bool { return p.known && p.former.OperationID == p.op.GetId() }

// decide finds the path, or takes the one that was found before.
func (p *job) decide(ctx context.Context, kept []byte) error {
	if len(kept) > 0 {
		if err := json.Unmarshal(kept, &p.decided); err != nil {
			return fmt.Errorf("cannot read what the operation had decided: %w; submit a new one", err)
		}
		return nil
	}
	facts, err := p.facts(ctx)
	if err != nil {
		return err
	}
	choice, err := change.Choose(p.appliedNow(), p.wanted(), facts)
	if err != nil {
		return err
	}
	p.decided = decision{Choice: choice, NodeName: p.former.NodeName, NoAPI: facts.APIVersion == ""}
	if p.decided.NodeName == "" {
		// The record was lost; kubelet's own files may still tell.
		p.decided.NodeName, _ = nodeadm.ReadNodeName(p.Root)
	}
	return nil
}

func (p *job) plan() (engine.Plan, error) {
	steps, err := p.steps()
	if err != nil {
		return engine.Plan{}, &engine.Permanent{Err: err}
	}
	kept, err := json.Marshal(p.decided)
	if err != nil {
		return engine.Plan{}, fmt.Errorf("cannot encode what the operation decided: %w", err)
	}
	return engine.Plan{Kept: kept, Forecast: p.forecast(steps), Steps: steps, Conclude: p.conclude}, nil
}

// steps are the operation's, in their order; their share of the progress follows
// from how long they are expected to take on this host.
func (p *job) steps() ([]engine.Step, error) {
	steps, err := p.stepsOfKind()
	for i := range steps {
		if p.Expected != nil {
			steps[i].Expected = p.Expected(steps[i])
		}
	}
	return weighed(steps), err
}

func (p *job) stepsOfKind() ([]engine.Step, error) {
	switch p.op.GetKind() {
	case agentv1.OperationKind_OPERATION_KIND_PROVISION:
		if p.joins() {
			return p.provisionSteps()
		}
		return p.repaveSteps()
	case agentv1.OperationKind_OPERATION_KIND_REPAVE, agentv1.OperationKind_OPERATION_KIND_RECONFIGURE:
		return p.repaveSteps()
	case agentv1.OperationKind_OPERATION_KIND_LEAVE:
		return p.leaveSteps(), nil
	default:
		return nil, fmt.Errorf("cannot run operations of kind %s: this version does not know them; upgrade the agent", p.op.GetKind())
	}
}

// weighed gives each step its percent by the time that it is expected to take.
func weighed(steps []engine.Step) []engine.Step {
	const least = 1 // second: no step is free
	total, sum := 0.0, 0.0
	for _, step := range steps {
		total += max(step.Expected.Seconds(), least)
	}
	for i := range steps {
		sum += max(steps[i].Expected.Seconds(), least)
		steps[i].Percent = uint32(100 * sum / total)
	}
	return steps
}

func (p *job) appliedNow() change.Applied {
	return change.Applied{
		Recorded: p.known, Unfinished: p.unfinished(), Node: p.former.Node, NodeDigest: p.former.NodeDigest,
		KubernetesVersion: p.former.KubernetesVersion, NodeIP: p.former.NodeIP,
	}
}

func (p *job) wanted() change.Wanted {
	return change.Wanted{
		Kind: p.op.GetKind(), Node: p.spec, NodeDigest: p.digest, NodeIP: p.nodeIP,
		NoCordon: p.op.GetDrain() != nil && !p.op.GetDrain().GetCordon(), Force: p.op.GetForce(), Repeat: p.repair(),
	}
}

// configPath is where the NodeConfig lies while the operation runs; it may hold
// the SSM activation code.
func (p *job) configPath() string { return configPath(p.Dir) }

// configPath is where the NodeConfig lies while an operation needs it.
func configPath(dir string) string { return filepath.Join(dir, "nodeconfig.yaml") }

// kubeconfig is kubelet's own.
func (p *job) kubeconfig() string { return filepath.Join(p.Root, nodeadm.KubeconfigPath) }

// nodeName is the Node's name: the host ID with IAM Roles Anywhere, else what
// nodeadm init made of the registration.
func (p *job) nodeName(spec *agentv1.NodeSpec) (string, error) {
	if anywhere := spec.GetAccess().GetIamRolesAnywhere(); anywhere != nil {
		return anywhere.GetNodeName(), nil
	}
	return nodeadm.ReadNodeName(p.Root)
}

// tell puts a line into the operation's log lines and into the journal.
func (p *job) tell(run engine.Run, format string, args ...any) {
	text := p.redactor.Redact(fmt.Sprintf(format, args...))
	run.Line(text)
	p.Line(p.op.GetId(), text)
}

// usable is a node part whose secret may be gone, as nodeadm takes it: the code
// of an activation that was used is never looked at again, but must be there.
func usable(spec *agentv1.NodeSpec) *agentv1.NodeSpec {
	if ssm := spec.GetAccess().GetSsm(); ssm == nil || ssm.GetActivationCode() != "" {
		return spec
	}
	whole := proto.CloneOf(spec)
	whole.GetAccess().GetSsm().ActivationCode = "used-once-and-not-kept"
	return whole
}
