package engine

import (
	"slices"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"hybridagent/agent/operation"
	"hybridagent/agent/operation/journal"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Bounds of a progress message, as operation.proto says.
const (
	maxLines   = 10
	maxLine    = 512
	maxMessage = 4 << 10
)

// live is the progress of an operation in this process, and who watches it.
type live struct {
	mutex    sync.Mutex
	progress *agentv1.OperationProgress
	// orders are the aborts of it.
	orders []journal.Record
	// changed is closed and replaced at each change: followers read the newest
	// state and skip what they were too slow for.
	changed chan struct{}
}

// newLive begins with what the journal tells.
func newLive(op *agentv1.Operation, records []journal.Record) *live {
	_, turned := journal.Turn(records)
	l := &live{changed: make(chan struct{}), progress: &agentv1.OperationProgress{
		OperationId: op.GetId(),
		Kind:        op.GetKind(),
		State:       agentv1.OperationState_OPERATION_STATE_PENDING,
		StartedAt:   timestamppb.New(records[0].At),
		NodeDigest:  op.GetNodeDigest(),
		Abortable:   !turned && !journal.PastReturn(records),
	}}
	l.orders = journal.Orders(records)
	return l
}

// aborted notes who ends the operation.
func (l *live) aborted(abort journal.Record) {
	l.update(func(p *agentv1.OperationProgress) {
		l.orders = append(l.orders, abort)
		p.Abortable, p.EstimatedEndAt = false, nil
		p.Message = "aborted by " + bounded(abort.Order.By, maxLine) + ": taking back what was begun"
	})
}

// order returns the signed abort of this ID.
func (l *live) order(id string) (journal.Record, bool) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	for _, abort := range l.orders {
		if abort.Order.Signed() && abort.Order.By == id {
			return abort, true
		}
	}
	return journal.Record{}, false
}

// update changes the progress and wakes the followers.
func (l *live) update(change func(*agentv1.OperationProgress)) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	change(l.progress)
	close(l.changed)
	l.changed = make(chan struct{})
}

// line adds a log line and keeps the last ten.
func (l *live) line(text string) {
	l.update(func(p *agentv1.OperationProgress) {
		p.LogLines = append(p.LogLines, bounded(text, maxLine))
		if extra := len(p.LogLines) - maxLines; extra > 0 {
			p.LogLines = slices.Delete(p.LogLines, 0, extra)
		}
	})
}

// state returns the progress and a channel that is closed at the next change.
func (l *live) state() (*agentv1.OperationProgress, <-chan struct{}) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return proto.CloneOf(l.progress), l.changed
}

func (l *live) snapshot() *agentv1.OperationProgress {
	progress, _ := l.state()
	return progress
}

func (l *live) ended() bool { return operation.Ended(l.snapshot().GetState()) }

// bounded cuts a text and keeps it valid UTF-8, as protobuf wants strings.
func bounded(text string, bytes int) string {
	if len(text) > bytes {
		text = text[:bytes]
	}
	return strings.ToValidUTF8(text, "")
}
