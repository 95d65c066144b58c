package engine

import (
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"hybridagent/agent/operation"
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
	// changed is closed and replaced at each change: followers read the newest
	// state and skip what they were too slow for.
	changed chan struct{}
}

func newLive(op *agentv1.Operation, started time.Time) *live {
	return &live{changed: make(chan struct{}), progress: &agentv1.OperationProgress{
		OperationId: op.GetId(),
		Kind:        op.GetKind(),
		State:       agentv1.OperationState_OPERATION_STATE_PENDING,
		StartedAt:   timestamppb.New(started),
		NodeDigest:  op.GetNodeDigest(),
	}}
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

func (l *live) id() string { return l.snapshot().GetOperationId() }

func (l *live) ended() bool { return operation.Ended(l.snapshot().GetState()) }

// bounded cuts a text and keeps it valid UTF-8, as protobuf wants strings.
func bounded(text string, bytes int) string {
	if len(text) > bytes {
		text = text[:bytes]
	}
	return strings.ToValidUTF8(text, "")
}
