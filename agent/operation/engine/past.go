package engine

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"hybridagent/agent/operation"
	"hybridagent/agent/operation/journal"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Past is the state of an operation as its journal tells it.
func Past(j *journal.Journal) *agentv1.OperationProgress {
	records := j.Records()
	first := records[0]
	_, turned := journal.Turn(records)
	progress := &agentv1.OperationProgress{
		OperationId: j.ID(),
		Kind:        agentv1.OperationKind(first.Operation.Kind),
		NodeDigest:  first.Operation.NodeDigest,
		State:       agentv1.OperationState_OPERATION_STATE_PENDING,
		StartedAt:   timestamppb.New(first.At),
		Forecast:    forecastOf(records),
		Abortable:   !turned && !journal.PastReturn(records),
	}
	for _, record := range records {
		if record.Step != "" {
			progress.Step = record.Step
			progress.State = agentv1.OperationState_OPERATION_STATE_RUNNING
		}
		progress.Percent = max(progress.Percent, record.Percent)
	}
	if end, ended := j.Result(); ended {
		progress.EndedAt = timestamppb.New(end.At)
		progress.Message = end.Message
		progress.Step = end.Step
		progress.LogLines = end.Lines
		progress.Abortable = false
		progress.State = stateOf(end)
		if end.Success {
			progress.Percent = 100
		}
	}
	return progress
}

// forecastOf is the forecast that was kept; nil: none was.
func forecastOf(records []journal.Record) *agentv1.Forecast {
	for _, record := range records {
		if record.Kind != journal.Planned || len(record.Forecast) == 0 {
			continue
		}
		forecast := &agentv1.Forecast{}
		if proto.Unmarshal(record.Forecast, forecast) == nil {
			return forecast
		}
	}
	return nil
}

// abortProgress is how a signed abort stands, by the operation that it is for.
func abortProgress(abort journal.Record, target *agentv1.OperationProgress) *agentv1.OperationProgress {
	p := &agentv1.OperationProgress{
		OperationId: abort.Order.By,
		Kind:        agentv1.OperationKind_OPERATION_KIND_ABORT,
		State:       agentv1.OperationState_OPERATION_STATE_RUNNING,
		Step:        target.GetStep(),
		Message:     target.GetMessage(),
		LogLines:    target.GetLogLines(),
		StartedAt:   timestamppb.New(abort.At),
		EndedAt:     target.GetEndedAt(),
		NodeDigest:  target.GetNodeDigest(),
	}
	switch state := target.GetState(); {
	case state == agentv1.OperationState_OPERATION_STATE_ABORTED:
		p.State, p.Percent = agentv1.OperationState_OPERATION_STATE_SUCCEEDED, 100
		p.Message = "operation " + target.GetOperationId() + " was aborted: " + target.GetMessage()
	case operation.Ended(state):
		p.State = agentv1.OperationState_OPERATION_STATE_FAILED
		p.Message = "operation " + target.GetOperationId() + " ended as " + operation.StateName(state) + " in spite of the abort: " + target.GetMessage()
	}
	p.Message = bounded(p.Message, maxMessage)
	return p
}
