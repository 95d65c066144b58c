package fleet

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/tap"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

const (
	// maxQueued answers may wait for a host; one that asks faster than it reads
	// loses its stream.
	maxQueued = 16
	// goodbyeTimeout is how long a host may take to read why it has to go.
	goodbyeTimeout = time.Second
)

type cancelKey struct{}

// Tap makes streams of hosts cancellable from the plane's side, so that one
// goroutine a stream is enough: it rests in Recv. Give it to grpc.InTapHandle.
func Tap(ctx context.Context, info *tap.Info) (context.Context, error) {
	if info.FullMethodName != agentv1.AgentService_Connect_FullMethodName {
		return ctx, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	return context.WithValue(ctx, cancelKey{}, cancel), nil
}

// session is one stream and what waits to be sent on it. Nobody but its sender
// waits for the host: an assignment or operation that was not sent yet is
// replaced by the next.
type session struct {
	number uint64
	stream grpc.BidiStreamingServer[agentv1.AgentMessage, agentv1.PlaneMessage]
	cancel context.CancelFunc

	mu         sync.Mutex
	first      []*agentv1.PlaneMessage // answers, in order
	assignment *agentv1.AssignmentUpdate
	operation  *agentv1.SignedOperation
	last       *agentv1.PlaneMessage // goodbye
	sending    bool
	ended      bool
}

func newSession(stream grpc.BidiStreamingServer[agentv1.AgentMessage, agentv1.PlaneMessage]) *session {
	cancel, ok := stream.Context().Value(cancelKey{}).(context.CancelFunc)
	if !ok {
		cancel = func() {}
	}
	return &session{stream: stream, cancel: cancel}
}

func (s *session) answer(m *agentv1.PlaneMessage) {
	s.post(func() {
		if len(s.first) >= maxQueued {
			s.ended = true
			s.cancel()
			return
		}
		s.first = append(s.first, m)
	})
}

func (s *session) assign(u *agentv1.AssignmentUpdate) { s.post(func() { s.assignment = u }) }

func (s *session) operate(op *agentv1.SignedOperation) { s.post(func() { s.operation = op }) }

// goodbye says why and ends the stream, also when the host does not read.
func (s *session) goodbye(reason string) {
	s.post(func() {
		s.last = &agentv1.PlaneMessage{Message: &agentv1.PlaneMessage_Goodbye{Goodbye: &agentv1.Goodbye{Reason: clipped(reason, maxGoodbye)}}}
	})
	time.AfterFunc(goodbyeTimeout, s.cancel)
}

// post changes what waits and sees to it that a sender runs. The sender ends
// with nothing left to send: an idle stream costs no second goroutine.
func (s *session) post(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	change()
	if !s.sending && !s.ended {
		s.sending = true
		go s.send()
	}
}

func (s *session) send() {
	for {
		m, goodbye := s.take()
		if m == nil {
			return
		}
		if err := s.stream.Send(m); err != nil || goodbye {
			s.end()
			return
		}
	}
}

// take answers the next message, and whether it is the last one; nil when
// nothing is left, and then the sender is gone.
func (s *session) take() (m *agentv1.PlaneMessage, goodbye bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended:
	case len(s.first) > 0:
		m, s.first = s.first[0], s.first[1:]
		if len(s.first) == 0 {
			s.first = nil
		}
	case s.assignment != nil:
		m = &agentv1.PlaneMessage{Message: &agentv1.PlaneMessage_Assignment{Assignment: s.assignment}}
		s.assignment = nil
	case s.operation != nil:
		m = &agentv1.PlaneMessage{Message: &agentv1.PlaneMessage_Operation{Operation: s.operation}}
		s.operation = nil
	case s.last != nil:
		return s.last, true
	}
	s.sending = m != nil
	return m, false
}

func (s *session) end() {
	s.mu.Lock()
	s.ended, s.sending = true, false
	s.first, s.assignment, s.operation = nil, nil, nil
	s.mu.Unlock()
	s.cancel()
}
