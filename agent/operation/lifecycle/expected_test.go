package lifecycle

import (
	"testing"
	"time"

	"hybridagent/agent/operation/engine"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// TestForecastKnowsThisHost: what steps took on this host goes before what they
// take elsewhere.
func TestForecastKnowsThisHost(t *testing.T) {
	t.Parallel()
	h := newNode(t, "", "")
	op := order(2, repaveKind, newer)
	request := &agentv1.ForecastRequest{Kind: op.GetKind(), Node: op.GetNode(), NodeDigest: op.GetNodeDigest(), NodeIp: op.GetNodeIp()}
	h.options.Expected = func(step engine.Step) time.Duration {
		if step.Name == "nodeadm-upgrade" {
			return time.Hour
		}
		return time.Second
	}
	forecast, err := Forecast(t.Context(), h.options, request)
	if err != nil {
		t.Fatal(err)
	}
	steps, upgrade := forecast.GetSteps(), time.Duration(0)
	for _, step := range steps {
		if step.GetName() == "nodeadm-upgrade" {
			upgrade = step.GetDuration().AsDuration()
		}
	}
	want := time.Hour + time.Duration(len(steps)-1)*time.Second
	if upgrade != time.Hour || forecast.GetDuration().AsDuration() != want || forecast.GetDowntime().AsDuration() < time.Hour {
		t.Errorf("forecast = %v; want %s in all", forecast, want)
	}
}
