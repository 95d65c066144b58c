package engine

import (
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Bounds of a forecast's steps, as operation.proto says.
const (
	maxForecastSteps = 32
	maxWhat          = 256
)

// beat is how often the progress inside a step is looked at, and drift by how much
// an estimated end must move to be told.
const (
	beat  = time.Second
	drift = 5 * time.Second
)

// Expected is how long a step takes on this host: as long as before, or what the
// step expects.
func (e *Engine) Expected(step Step) time.Duration { return e.history.expected(step) }

// Forecast is a plan's forecast with the steps and their durations filled in.
func (e *Engine) Forecast(plan Plan) *agentv1.Forecast {
	forecast := &agentv1.Forecast{}
	if plan.Forecast != nil {
		forecast = proto.CloneOf(plan.Forecast)
	}
	total, fill := time.Duration(0), len(forecast.GetSteps()) == 0
	for i, step := range plan.Steps {
		took := e.Expected(step)
		total += took
		if fill && i < maxForecastSteps {
			one := &agentv1.ForecastStep{Name: step.Name, What: bounded(step.What, maxWhat)}
			if took > 0 {
				one.Duration = durationpb.New(took.Round(time.Second))
			}
			forecast.Steps = append(forecast.Steps, one)
		}
	}
	if forecast.Duration == nil && total > 0 {
		forecast.Duration = durationpb.New(total.Round(time.Second))
	}
	return forecast
}

// foretell shows the forecast: the one that was kept, or else the plan's.
func (x *execution) foretell() {
	forecast := forecastOf(x.journal.Records())
	if forecast == nil && x.plan.Forecast != nil {
		forecast = x.engine.Forecast(x.plan)
	}
	if forecast != nil {
		x.live.update(func(p *agentv1.OperationProgress) { p.Forecast = forecast })
	}
}

// took remembers what a step took that was done at a go.
func (x *execution) took(step Step, took time.Duration) { x.engine.history.note(step.Name, took) }

// clock moves percent and estimated end while a step is under way; what it
// returns stops it.
func (x *execution) clock(step Step) (stop func()) {
	expected, after := x.engine.Expected(step), x.expectedAfter(step.Name)
	from := x.live.snapshot().GetPercent()
	began := time.Now()
	move := func() {
		elapsed := time.Since(began)
		x.estimate(percentWithin(from, step.Percent, elapsed, expected), after+max(0, expected-elapsed))
	}
	move()
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(beat)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				move()
			}
		}
	}()
	return func() {
		close(done)
		<-stopped
	}
}

// estimate publishes how far the operation is and how long it still takes, as far
// as that is news.
func (x *execution) estimate(percent uint32, rest time.Duration) {
	now := x.live.snapshot()
	end := x.engine.opt.Now().Add(rest)
	forward := notTurned(x.journal.Records()) == nil
	moved := forward && rest > 0 && (now.GetEstimatedEndAt() == nil || end.Sub(now.GetEstimatedEndAt().AsTime()).Abs() >= drift)
	if percent <= now.GetPercent() && !moved {
		return
	}
	x.live.update(func(p *agentv1.OperationProgress) {
		p.Percent = max(p.Percent, percent)
		if moved {
			p.EstimatedEndAt = timestamppb.New(end)
		}
	})
}

// percentWithin follows time inside a step and never reaches the step's end.
func percentWithin(from, end uint32, elapsed, expected time.Duration) uint32 {
	if expected <= 0 || end <= from+1 || elapsed <= 0 {
		return from
	}
	share := min(1, float64(elapsed)/float64(expected))
	return min(end-1, from+uint32(share*float64(end-from)))
}

// expectedAfter is what the steps behind this one take.
func (x *execution) expectedAfter(name string) time.Duration {
	total, behind := time.Duration(0), false
	for _, step := range x.plan.Steps {
		if behind && (step.Always || !x.journal.StepDone(step.Name)) {
			total += x.engine.Expected(step)
		}
		behind = behind || step.Name == name
	}
	return total
}
