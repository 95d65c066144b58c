package lifecycle

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"hybridagent/agent/operation/engine"
	"hybridagent/nodeadm/change"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Bounds of a forecast, as operation.proto says.
const (
	maxReasons = 16
	maxReason  = 512
	maxRefusal = 1024
	maxSteps   = 32
)

// Forecast says what an operation would do on this host, and why it would be
// refused at this moment. It changes nothing.
func Forecast(ctx context.Context, opt Options, request *agentv1.ForecastRequest) (*agentv1.Forecast, error) {
	op := &agentv1.Operation{
		Kind: request.GetKind(), HostId: opt.HostID, Node: request.GetNode(),
		NodeDigest: request.GetNodeDigest(), NodeIp: request.GetNodeIp(), Drain: request.GetDrain(), Force: request.GetForce(),
	}
	p, err := newJob(opt.withDefaults(), op)
	if err != nil {
		return nil, err
	}
	refused := func(err error) (*agentv1.Forecast, error) {
		return &agentv1.Forecast{NodeDigest: p.digest, Refusal: bounded(err.Error(), maxRefusal)}, nil
	}
	if err := p.decide(ctx, nil); err != nil {
		return refused(err)
	}
	steps, err := p.steps()
	if err != nil {
		return refused(err)
	}
	forecast := p.forecast(steps)
	p.estimate(ctx, forecast)
	err = p.obstacle(ctx)
	switch {
	case err == nil:
	case passes(err):
		// The operation waits for it before it changes anything.
		forecast.Reasons = append(forecast.Reasons[:min(len(forecast.Reasons), maxReasons-1)], bounded("it would wait at first: "+p.redactor.Redact(err.Error()), maxReason))
	default:
		forecast.Refusal = bounded(p.redactor.Redact(err.Error()), maxRefusal)
	}
	return forecast, nil
}

// forecast tells path, reasons and steps.
func (p *job) forecast(steps []engine.Step) *agentv1.Forecast {
	forecast := &agentv1.Forecast{Path: string(p.decided.Path), NodeDigest: p.digest}
	for _, reason := range p.decided.Reasons {
		if len(forecast.Reasons) < maxReasons {
			forecast.Reasons = append(forecast.Reasons, bounded(p.redactor.Redact(reason), maxReason))
		}
	}
	var whole, down time.Duration
	away := false
	for _, step := range steps {
		away = away || step.Name == "drain" || step.Name == "reboot" || step.Name == "nodeadm-uninstall" || step.Name == "nodeadm-init" && p.decided.Path == change.Install
		whole += step.Expected
		if away && p.decided.Drain {
			down += step.Expected
		}
		if len(forecast.Steps) < maxSteps {
			forecast.Steps = append(forecast.Steps, &agentv1.ForecastStep{Name: step.Name, What: step.What, Duration: durationpb.New(step.Expected)})
		}
	}
	forecast.Duration, forecast.Downtime = durationpb.New(whole), durationpb.New(down)
	return forecast
}

// estimate fills in what would be fetched.
func (p *job) estimate(ctx context.Context, forecast *agentv1.Forecast) {
	specs := p.staged()
	// The registry tells the size of an image, and the host does not ask it.
	forecast.UnknownFetch = p.decided.Path == change.OSImage
	if p.Artifacts == nil {
		forecast.UnknownFetch = forecast.UnknownFetch || len(specs) > 0
		return
	}
	for _, spec := range specs {
		bytes, unknown, err := p.Artifacts.Estimate(ctx, spec)
		forecast.FetchBytes += bytes
		forecast.UnknownFetch = forecast.UnknownFetch || unknown || err != nil
	}
}

// obstacle is what would stop the operation, or have it wait, before it has changed
// anything.
func (p *job) obstacle(ctx context.Context) error {
	if p.decided.Path == change.None || p.spec == nil {
		return p.checkDrain(ctx)
	}
	for _, check := range []func() error{p.checkNodeadm, p.checkSpec, p.checkRemoteNodeCIDRs, p.checkActivation, p.checkCredentials, p.checkAddress, p.checkDisk} {
		if err := check(); err != nil {
			return err
		}
	}
	return p.checkDrain(ctx)
}

// bounded cuts a text to so many bytes.
func bounded(text string, bytes int) string {
	for len(text) > bytes {
		cut := bytes
		for cut > 0 && text[cut]&0xc0 == 0x80 {
			cut--
		}
		text = text[:cut]
	}
	return text
}
