package fleet

import (
	"context"
	"errors"
	"io"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"hybridagent/plane/auth"
	"hybridagent/plane/store"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

const (
	// helloTimeout ends a stream that says nothing.
	helloTimeout = 10 * time.Second
	// keepalive that hosts are asked for.
	keepalive = 30 * time.Second
	// identityTries bounds the retries of a write to a host's identity.
	identityTries = 5
)

// Connect serves the stream of a host.
func (f *Fleet) Connect(stream grpc.BidiStreamingServer[agentv1.AgentMessage, agentv1.PlaneMessage]) error {
	s := newSession(stream)
	defer s.end()
	hello, err := receiveHello(s)
	if err != nil {
		return err
	}
	h, err := f.admit(stream.Context(), hello)
	if err != nil {
		f.cfg.Log.Warn("host is refused", zap.String("host_id", hello.GetHostId()), zap.Error(err))
		return err
	}
	if err := f.attach(h, s, hello); err != nil {
		return err
	}
	f.cfg.Log.Info("host is connected", zap.String("host_id", h.id), zap.Uint64("generation", hello.GetGeneration()))
	defer f.detach(h, s)
	for {
		m, err := stream.Recv()
		if err != nil {
			return endOf(stream.Context(), err)
		}
		if err := f.receive(stream.Context(), h, s, m); err != nil {
			f.cfg.Log.Warn("message of a host is refused", zap.String("host_id", h.id), zap.Error(err))
			return err
		}
	}
}

// endOf maps the end of Recv to the stream's status: a stream that the host or
// the plane ended is no error.
func endOf(ctx context.Context, err error) error {
	ended := errors.Is(err, io.EOF) || ctx.Err() != nil
	if !ended {
		return err
	}
	return nil
}

func receiveHello(s *session) (*agentv1.Hello, error) {
	timer := time.AfterFunc(helloTimeout, s.cancel)
	m, err := s.stream.Recv()
	if !timer.Stop() {
		return nil, status.Errorf(codes.DeadlineExceeded, "no hello within %s", helloTimeout)
	}
	if err != nil {
		return nil, err
	}
	if m.GetHello() == nil {
		return nil, status.Error(codes.InvalidArgument, "the first message of a stream must be a hello")
	}
	return m.GetHello(), nil
}

// admit checks that the host is who it says, is enrolled, holds its newest
// identity and is the same machine.
func (f *Fleet) admit(ctx context.Context, hello *agentv1.Hello) (*host, error) {
	id, key, err := auth.Host(ctx)
	if err != nil {
		return nil, err
	}
	if hello.GetHostId() != id {
		return nil, status.Errorf(codes.PermissionDenied, "host ID %q is not that of the certificate, %q", hello.GetHostId(), id)
	}
	if err := checkFingerprint(hello.GetFingerprint()); err != nil {
		return nil, err
	}
	who, err := f.recognize(ctx, id, key, hello.GetFingerprint())
	if err != nil {
		return nil, err
	}
	h, err := f.known(ctx, id)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.enrolment = who.EnrolledAt
	h.print = hello.GetFingerprint()
	return h, nil
}

func (f *Fleet) recognize(ctx context.Context, id, key string, fp *agentv1.HardwareFingerprint) (identity, error) {
	for range identityTries {
		who, rev, err := f.readIdentity(ctx, id)
		if err != nil {
			return identity{}, status.Errorf(codes.Unavailable, "the plane cannot read the host's identity: %v", err)
		}
		if err := who.holds(id, key, rev); err != nil {
			return identity{}, err
		}
		if !who.sameMachine(fp) {
			return identity{}, status.Errorf(codes.PermissionDenied,
				"host ID %q belongs to another machine (product UUID %s): this one is a clone; give it a host ID of its own and enrol it", id, orNone(who.ProductUUID))
		}
		settled := who.Keys[0] == key && len(who.Keys) > 1
		if settled {
			who.Keys = who.Keys[:1]
		}
		if !who.learn(fp) && !settled {
			return who, nil
		}
		write, err := who.write(id)
		if err != nil {
			return identity{}, status.Error(codes.Internal, err.Error())
		}
		_, err = f.cfg.Store.Commit(ctx, []store.Guard{{Key: identityPrefix + id, Revision: rev}}, []store.Write{write})
		if err == nil {
			return who, nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return identity{}, status.Errorf(codes.Unavailable, "the plane cannot write the host's identity: %v", err)
		}
	}
	return identity{}, status.Error(codes.Unavailable, "the host's identity changes too fast; try again")
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// attach makes the stream the host's only one and says welcome. It fails for a
// host that was removed since it was admitted.
func (f *Fleet) attach(h *host, s *session, hello *agentv1.Hello) error {
	now := f.cfg.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.removed {
		return wasRemoved(h.id)
	}
	if old := h.session; old != nil {
		old.goodbye("replaced by a newer stream of the same host")
	}
	h.streams++
	s.number = h.streams
	h.session, h.connected, h.since, h.agent = s, true, now, clipped(hello.GetAgentVersion(), maxVersion)
	h.reported = false
	welcome := &agentv1.Welcome{
		PlaneVersion: clipped(f.cfg.Version, maxVersion),
		PlaneTime:    timestamppb.New(now),
		Keepalive:    durationpb.New(keepalive),
	}
	send, _ := h.reconcileLocked(hello.GetGeneration(), hello.GetDigest())
	if !send {
		welcome.Generation = h.generation
	}
	s.answer(&agentv1.PlaneMessage{Message: &agentv1.PlaneMessage_Welcome{Welcome: welcome}})
	if send {
		s.assign(h.updateLocked())
	}
	f.unsaved.add(h.id)
	f.changed.add(h.id)
	return nil
}

func (f *Fleet) detach(h *host, s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.session != s {
		return
	}
	h.session, h.connected, h.since, h.reported = nil, false, f.cfg.Now(), false
	f.unsaved.add(h.id)
	f.changed.add(h.id)
	f.cfg.Log.Info("host is disconnected", zap.String("host_id", h.id))
}
