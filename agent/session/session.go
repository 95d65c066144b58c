package session

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"hybridagent/agent/identity"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

const (
	backoffFirst = time.Second
	backoffCap   = 60 * time.Second
	// settled is how long a stream must have lasted for the backoff to start over:
	// a plane that takes streams and drops them is not hammered.
	settled = 30 * time.Second
	// nudgeGap is the least time between attempts that nudges can force.
	nudgeGap = 2 * time.Second
)

// Handler takes what the plane says. Its methods are called one at a time.
type Handler interface {
	// Hello describes the host for a new stream.
	Hello() *agentv1.Hello
	// Welcomed takes the generation that the plane confirmed; 0: none.
	Welcomed(generation uint64)
	// Assignment applies an assignment and answers for it by the outbox.
	Assignment(ctx context.Context, update *agentv1.AssignmentUpdate)
	// Operation takes a signed operation and returns at once.
	Operation(env *agentv1.SignedOperation)
	// NodeCertificate takes the answer to a request for the node's certificate
	// and returns at once.
	NodeCertificate(response *agentv1.NodeCertificateResponse)
	// Renewed takes the host's next identity.
	Renewed(id *identity.Identity) error
}

// State is what became of the stream.
type State struct {
	// Connected says whether the plane has welcomed the host on the open stream.
	Connected bool
	// Since is when Connected last changed.
	Since time.Time
	// LastError says why the last attempt failed, with LastReason for programs;
	// nil and empty while connected.
	LastError  error
	LastReason string
	// NextAttempt is when the next attempt begins; zero while connected or trying.
	NextAttempt time.Time
	// Connects counts welcomes since start.
	Connects uint64
}

// Options make a Session.
type Options struct {
	Log *zap.Logger
	// Address of the plane, host:port.
	Address string
	// Trust and Identity are asked for before each attempt.
	Trust    func() identity.Trust
	Identity func() *identity.Identity
	HostID   string
	Handler  Handler
	Outbox   *Outbox
	// OnState, if set, is called with each change.
	OnState func(State)
	// Recover, if set, is called after an attempt that failed with err, and says
	// whether the host has another identity now. The error that it returns is what
	// operators see.
	Recover func(ctx context.Context, err error) (bool, error)
}

// Session keeps a stream to the plane open.
type Session struct {
	opt     Options
	nudge   chan struct{}
	attempt func(ctx context.Context) outcome // the seam for tests of the loop

	mu    sync.Mutex
	state State
	ping  time.Duration
}

// outcome is how an attempt ended.
type outcome struct {
	err        error
	retryAfter time.Duration // the plane asked for it
	redial     bool          // come back at once: only the parameters changed
	lasted     time.Duration // how long the stream was up
}

// New returns a session; Run makes it work.
func New(opt Options) *Session {
	s := &Session{
		opt: opt, nudge: make(chan struct{}, 1), ping: DefaultKeepalive,
		state: State{Since: time.Now()},
	}
	s.attempt = s.connect
	return s
}

// Nudge ends a wait between attempts early, because the host's network changed.
func (s *Session) Nudge() {
	select {
	case s.nudge <- struct{}{}:
	default:
	}
}

// Run connects again and again until ctx ends; then it returns nil.
func (s *Session) Run(ctx context.Context) error {
	backoff := Backoff{First: backoffFirst, Cap: backoffCap}
	for {
		out := s.attempt(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the attempt failed because the daemon stops
		}
		if out.redial {
			continue
		}
		if out.lasted >= settled {
			backoff.Reset()
		}
		renewed := false
		if s.opt.Recover != nil && out.err != nil {
			renewed, out.err = s.opt.Recover(ctx, out.err)
		}
		wait := out.retryAfter + backoff.Next()
		if renewed {
			// Not at once: a plane that enrols and then refuses is not hammered.
			s.wait(ctx, wait, out.retryAfter)
			continue
		}
		s.failed(out.err, time.Now().Add(wait))
		s.opt.Log.Info("no stream to the plane", zap.Error(out.err), zap.Duration("retry_in", wait.Round(time.Millisecond)))
		s.wait(ctx, wait, out.retryAfter)
	}
}

// wait sleeps; a nudge shortens it, but never below what the plane asked for.
func (s *Session) wait(ctx context.Context, wait, floor time.Duration) {
	select { // a nudge from before the attempt says nothing about the next
	case <-s.nudge:
	default:
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	nudges := s.nudge
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-nudges:
			nudges = nil
			if least := max(floor, nudgeGap); wait > least {
				timer.Reset(least)
			}
		}
	}
}

func (s *Session) change(change func(*State)) {
	s.mu.Lock()
	before := s.state.Connected
	change(&s.state)
	if s.state.Connected != before {
		s.state.Since = time.Now()
	}
	state := s.state
	s.mu.Unlock()
	if s.opt.OnState != nil {
		s.opt.OnState(state)
	}
}

func (s *Session) failed(err error, next time.Time) {
	if err == nil {
		err = errors.New("the plane ended the stream")
	}
	s.change(func(st *State) {
		st.Connected, st.LastError, st.NextAttempt = false, err, next
		st.LastReason = identity.ReasonOf(err, identity.ReasonPlaneUnreachable)
	})
}

func (s *Session) welcomed() {
	s.change(func(st *State) {
		st.Connected, st.LastError, st.LastReason, st.NextAttempt = true, nil, "", time.Time{}
		st.Connects++
	})
}

// keepalive bounds what the plane asks for; it says whether that is new.
func (s *Session) keepalive(asked time.Duration) bool {
	const least, most = 10 * time.Second, 30 * time.Minute
	if asked <= 0 {
		asked = DefaultKeepalive
	}
	asked = min(max(asked, least), most)
	changed := asked != s.ping
	s.ping = asked
	return changed
}

func unexpected(format string, args ...any) error {
	return &identity.Error{Reason: identity.ReasonBadAnswer, Err: fmt.Errorf(format, args...)}
}
