package agent

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// What a node needs from time to time, beside being watched: the pool's labels, a
// forecast where a repave is required, a nudge after an outage.
const (
	// labelsAgain is how often the Node's labels are looked at although nothing
	// changed here: somebody may have removed one, or the Node.
	labelsAgain = time.Hour
	// forecastAgain is how often a forecast is made anew while a repave is required.
	forecastAgain = 10 * time.Minute
	// careRetry is the wait after root could not.
	careRetry = time.Minute
	// longOutage is how long the way to the VPC must have been down before the SSM agent
	// is taken to sleep longer than that.
	longOutage = 5 * time.Minute
)

// servingPending is NodeState.serving_certificate while nobody has approved it.
const servingPending = "pending"

// care is what was done last; of the goroutine that runs.
type care struct {
	labelsAt   time.Time
	labels     map[string]string
	labelsOf   string // digest of the node that has them
	forecastAt time.Time
	forecast   *agentv1.ForecastRequest
	downSince  time.Time // of the way to the VPC; zero: it is up
}

// takeCare does what is due for the node.
func (n *nodeMonitor) takeCare(ctx context.Context, input nodeInput, now time.Time) {
	state := n.facts().state
	if state.GetAppliedNodeDigest() == "" {
		n.care = care{}
		n.keepForecast(nil)
		return
	}
	n.nudge(ctx, input, state, now)
	n.label(ctx, input, state, now)
	n.foresee(ctx, input, now)
}

// label gives the Node the pool's labels.
func (n *nodeMonitor) label(ctx context.Context, input nodeInput, state *agentv1.NodeState, now time.Time) {
	if !input.inPool {
		n.care.labelsAt = time.Time{}
		return
	}
	same := n.care.labelsOf == state.GetAppliedNodeDigest() && maps.Equal(n.care.labels, input.labels)
	if same && now.Before(n.care.labelsAt) {
		return
	}
	n.care.labels, n.care.labelsOf = input.labels, state.GetAppliedNodeDigest()
	reply, err := n.door.SetNodeLabels(ctx, input.labels)
	if ctx.Err() != nil {
		return
	}
	n.care.labelsAt = now.Add(labelsAgain)
	if err != nil {
		n.care.labelsAt = now.Add(careRetry)
	}
	before := n.facts()
	if (err == nil) == (before.labelsErr == nil) && slices.Equal(reply.GetRestricted(), before.restricted) {
		return
	}
	if err != nil {
		n.log.Warn("cannot give the Node the labels of its pool; trying on", zap.Error(err))
	}
	n.change(func(f *nodeFacts) { f.labelsErr, f.restricted = err, reply.GetRestricted() })
}

// foresee asks root what a repave would do, while one is required.
func (n *nodeMonitor) foresee(ctx context.Context, input nodeInput, now time.Time) {
	if input.forecast == nil {
		n.care.forecast, n.care.forecastAt = nil, time.Time{}
		n.keepForecast(nil)
		return
	}
	if proto.Equal(input.forecast, n.care.forecast) && now.Before(n.care.forecastAt) {
		return
	}
	n.care.forecast = input.forecast
	forecast, err := n.door.Forecast(ctx, input.forecast)
	if ctx.Err() != nil {
		return
	}
	n.care.forecastAt = now.Add(forecastAgain)
	if err != nil {
		n.care.forecastAt = now.Add(careRetry)
		forecast = &agentv1.Forecast{NodeDigest: input.forecast.GetNodeDigest(), Refusal: brief(fmt.Sprintf("the host cannot tell what a repave would do: %v", err), maxMessage)}
	}
	n.keepForecast(forecast)
}

func (n *nodeMonitor) keepForecast(forecast *agentv1.Forecast) {
	if !proto.Equal(n.facts().forecast, forecast) {
		n.change(func(f *nodeFacts) { f.forecast = forecast })
	}
}

// nudge wakes the SSM agent when the way to the VPC is back after a long outage: by
// itself it may sleep for another half hour.
func (n *nodeMonitor) nudge(ctx context.Context, input nodeInput, state *agentv1.NodeState, now time.Time) {
	switch {
	case input.pathDown:
		if n.care.downSince.IsZero() {
			n.care.downSince = now
		}
		return
	case n.care.downSince.IsZero():
		return
	}
	outage := now.Sub(n.care.downSince)
	n.care.downSince = time.Time{}
	if outage < longOutage || !usesSSM(state.GetAppliedNode()) {
		return
	}
	restarted, err := n.door.NudgeSSMAgent(ctx)
	if err != nil {
		n.log.Warn("cannot nudge the SSM agent after an outage; its credentials may take half an hour to return", zap.Error(err))
		return
	}
	n.log.Info("the way to the VPC is back; nudged the SSM agent", zap.Duration("outage", outage.Round(time.Second)), zap.Bool("restarted", restarted))
	n.readState(ctx)
}
