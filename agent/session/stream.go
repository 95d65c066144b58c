package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"hybridagent/agent/identity"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// welcomeTimeout bounds the time from dialling to the plane's first word.
const welcomeTimeout = 20 * time.Second

// renewCheck is the longest sleep towards a renewal: timers do not follow a clock
// that is set.
const renewCheck = time.Hour

type agentStream = grpc.BidiStreamingClient[agentv1.AgentMessage, agentv1.PlaneMessage]

// errRedial ends a stream whose keepalive is not what the plane wants.
var errRedial = errors.New("the plane asked for another keepalive interval")

// goodbye is the plane's wish to be left alone.
type goodbye struct {
	after  time.Duration
	reason string
}

func (g *goodbye) Error() string { return "the plane ended the stream: " + g.reason }

// connect runs one stream to its end.
func (s *Session) connect(ctx context.Context) outcome {
	trust, id := s.opt.Trust(), s.opt.Identity()
	handshake := &identity.Handshake{}
	conn, err := Dial(s.opt.Address, trust.TLS(id, handshake), s.ping)
	if err != nil {
		return outcome{err: err}
	}
	defer func() { _ = conn.Close() }()
	var started time.Time
	err = s.converse(ctx, conn, &started)
	out := outcome{err: s.explain(err, handshake)}
	if !started.IsZero() {
		out.lasted = time.Since(started)
	}
	var bye *goodbye
	switch {
	case errors.Is(err, errRedial):
		out.redial = true
	case errors.As(err, &bye):
		out.retryAfter = bye.after
	}
	return out
}

// converse says hello, waits for the welcome, then sends and receives.
func (s *Session) converse(ctx context.Context, conn *grpc.ClientConn, started *time.Time) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := time.AfterFunc(welcomeTimeout, func() {
		cancel(fmt.Errorf("no welcome within %s", welcomeTimeout))
	})
	defer late.Stop()
	stream, err := agentv1.NewAgentServiceClient(conn).Connect(ctx)
	if err != nil {
		return causeOr(ctx, err)
	}
	hello := &agentv1.AgentMessage{Message: &agentv1.AgentMessage_Hello{Hello: s.opt.Handler.Hello()}}
	if err := stream.Send(hello); err != nil && !errors.Is(err, io.EOF) {
		return causeOr(ctx, err) // io.EOF: the status comes with Recv
	}
	first, err := stream.Recv()
	if err != nil {
		return causeOr(ctx, err)
	}
	late.Stop()
	if err := s.greet(first); err != nil {
		return err
	}
	*started = time.Now()
	s.opt.Outbox.restart()
	s.welcomed()
	s.opt.Handler.Welcomed(first.GetWelcome().GetGeneration())
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error { return s.receive(ctx, stream) })
	tasks.Go(func() error { return s.send(ctx, stream) })
	tasks.Go(func() error { return s.renew(ctx, conn) })
	// Recv is released by the stream's context only.
	tasks.Go(func() error { <-ctx.Done(); cancel(nil); return nil })
	return tasks.Wait()
}

func (s *Session) greet(first *agentv1.PlaneMessage) error {
	if bye := first.GetGoodbye(); bye != nil {
		return &goodbye{after: bye.GetRetryAfter().AsDuration(), reason: bye.GetReason()}
	}
	welcome := first.GetWelcome()
	if welcome == nil {
		return unexpected("cannot talk to %s: its first message was %T, not a welcome", s.opt.Address, first.GetMessage())
	}
	if s.keepalive(welcome.GetKeepalive().AsDuration()) {
		return errRedial
	}
	fields := []zap.Field{zap.String("plane_version", welcome.GetPlaneVersion())}
	if at := welcome.GetPlaneTime(); at != nil {
		fields = append(fields, zap.Duration("plane_ahead", time.Until(at.AsTime()).Round(time.Millisecond)))
	}
	s.opt.Log.Info("connected to the plane", fields...)
	return nil
}

func (s *Session) receive(ctx context.Context, stream agentStream) error {
	for {
		message, err := stream.Recv()
		if err != nil {
			return err
		}
		switch m := message.GetMessage().(type) {
		case *agentv1.PlaneMessage_Assignment:
			s.opt.Handler.Assignment(ctx, m.Assignment)
		case *agentv1.PlaneMessage_Operation:
			s.opt.Handler.Operation(m.Operation)
		case *agentv1.PlaneMessage_NodeCertificate:
			s.opt.Handler.NodeCertificate(m.NodeCertificate)
		case *agentv1.PlaneMessage_Goodbye:
			return &goodbye{after: m.Goodbye.GetRetryAfter().AsDuration(), reason: m.Goodbye.GetReason()}
		default:
			// A newer plane may say more than this version understands.
			s.opt.Log.Debug("unknown message from the plane", zap.String("kind", fmt.Sprintf("%T", m)))
		}
	}
}

func (s *Session) send(ctx context.Context, stream agentStream) error {
	for {
		for message := s.opt.Outbox.next(); message != nil; message = s.opt.Outbox.next() {
			if err := stream.Send(message); err != nil {
				if errors.Is(err, io.EOF) {
					// The reader gets the status that ended the stream.
					<-ctx.Done()
					return nil
				}
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.opt.Outbox.wake:
		}
	}
}

// renew exchanges the certificate at two thirds of its life; a failure is tried
// again and ends no stream.
func (s *Session) renew(ctx context.Context, conn *grpc.ClientConn) error {
	retry := Backoff{First: time.Minute, Cap: renewCheck}
	for {
		wait := min(max(time.Until(s.opt.Identity().RenewAt()), 0), renewCheck)
		if wait == 0 {
			err := s.renewOnce(ctx, conn)
			if err == nil {
				retry.Reset()
				s.opt.Log.Info("renewed the host's certificate")
				continue
			}
			if ctx.Err() != nil {
				return nil //nolint:nilerr // the stream ends, and says why elsewhere
			}
			wait = time.Second + retry.Next()
			s.opt.Log.Warn("cannot renew the host's certificate", zap.Error(err), zap.Duration("retry_in", wait))
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

func (s *Session) renewOnce(ctx context.Context, conn *grpc.ClientConn) error {
	ctx, cancel := context.WithTimeout(ctx, welcomeTimeout)
	defer cancel()
	next, err := s.opt.Identity().Renew(ctx, conn, s.opt.Trust(), s.opt.HostID)
	if err != nil {
		return err
	}
	if !next.RenewAt().After(time.Now()) {
		return unexpected("cannot use the renewed certificate: two thirds of its life are over already; check this host's clock")
	}
	return s.opt.Handler.Renewed(next)
}

// causeOr prefers our own reason for ending a call to gRPC's "context canceled".
func causeOr(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// tlsAlert begins the text of what the other side of a TLS connection objects to.
const tlsAlert = "remote error: tls: "

// refusedBy names the way back in for a host that the plane does not take.
func refusedBy(said string) error {
	return &identity.Error{Reason: identity.ReasonRequestRefused, Err: fmt.Errorf("the plane refuses this host: %s; "+
		`to enrol it again, make a token with "hybridctl token create", put it into the token file and restart hybrid-agent.service`, said)}
}

// explain words a stream's end for operators.
func (s *Session) explain(err error, handshake *identity.Handshake) error {
	if refused := handshake.Err(); refused != nil {
		return refused
	}
	said := status.Convert(err).Message()
	switch code := status.Code(err); code {
	case codes.OK, codes.Canceled:
		return err
	case codes.Unauthenticated, codes.PermissionDenied:
		return refusedBy(said)
	case codes.Unavailable, codes.DeadlineExceeded:
		// The plane judges the host's certificate after the host has finished its
		// side of the handshake, so its no comes as an alert on the connection.
		if _, alert, ok := strings.Cut(said, tlsAlert); ok {
			return refusedBy("it does not take this host's certificate (" + strings.Trim(alert, `" `) + ")")
		}
		return &identity.Error{Reason: identity.ReasonPlaneUnreachable, Err: fmt.Errorf("cannot reach the plane at %s: %s; "+
			"check the host's way to it; the agent keeps trying", s.opt.Address, said)}
	case codes.Unknown:
		return err // our own errors
	default:
		return &identity.Error{Reason: identity.ReasonPlaneUnreachable, Err: fmt.Errorf("the plane at %s ended the stream: %s: %s", s.opt.Address, code, said)}
	}
}
