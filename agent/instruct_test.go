package agent

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// TestForecastIsAskedWithTheDrainOptions: a forecast by other options than those of
// the operation would promise what the host refuses.
func TestForecastIsAskedWithTheDrainOptions(t *testing.T) {
	t.Parallel()
	f := healthyFacts(t)
	f.assignment.update.Drain = &agentv1.DrainOptions{Timeout: durationpb.New(time.Minute)}
	request := forecastFor(agentv1.OperationKind_OPERATION_KIND_REPAVE, f.assignment, "10.200.0.11")
	if drain := request.GetDrain(); drain == nil || drain.GetCordon() || drain.GetTimeout().AsDuration() != time.Minute {
		t.Errorf("asked with %v", drain)
	}
}
