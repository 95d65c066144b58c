package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"hybridagent/agent/config"
	"hybridagent/agent/hostid"
	"hybridagent/agent/identity"
	"hybridagent/agent/session"
	"hybridagent/agent/store"
)

const (
	hostIDPoll    = time.Second
	enrollTimeout = 20 * time.Second
	enrollFirst   = time.Second
	enrollCap     = 60 * time.Second
)

// planeTask brings the host to the plane: waits for the host ID, enrols where
// there is no certificate, then keeps the stream.
type planeTask struct {
	log   *zap.Logger
	cfg   config.Config
	core  *core
	door  Door
	ready chan struct{}
	nudge chan struct{}
	// lost says that the identity on disk was damaged.
	lost error
	// running is set once enrolled; guarded by core.mu.
	running *session.Session
}

func newPlaneTask(log *zap.Logger, cfg config.Config, c *core, door Door) *planeTask {
	return &planeTask{log: log, cfg: cfg, core: c, door: door, ready: make(chan struct{}), nudge: make(chan struct{}, 1)}
}

// String names the task.
func (p *planeTask) String() string { return "plane" }

// Ready is closed at once: the network is never waited for.
func (p *planeTask) Ready() <-chan struct{} { return p.ready }

// networkChanged ends a wait for the next attempt; core.mu is held.
func (p *planeTask) networkChanged() {
	if p.running != nil {
		p.running.Nudge()
		return
	}
	select {
	case p.nudge <- struct{}{}:
	default:
	}
}

// Run works until ctx ends; then it returns nil.
func (p *planeTask) Run(ctx context.Context) error {
	close(p.ready)
	id, ok := p.waitForHostID(ctx)
	if !ok {
		return nil
	}
	p.update(func(f *facts) { f.hostID = id })
	if who := p.identity(); p.mustEnroll(who) && !p.enroll(ctx, id, who) {
		return nil
	}
	if p.hasToken() {
		p.eraseToken(ctx) // left behind by a run that was cut off
	}
	s := session.New(session.Options{
		Log: p.log, Address: p.cfg.Plane.Address, HostID: id.ID, Handler: p, Outbox: p.core.outbox,
		Trust: p.trust, Identity: p.identity,
		OnState: func(state session.State) { p.update(func(f *facts) { f.session = state }) },
	})
	p.core.mu.Lock()
	p.running = s
	p.core.mu.Unlock()
	return s.Run(ctx)
}

// mustEnroll says whether the host needs a token: it has no certificate, or one
// that has ended while somebody put a fresh token there.
func (p *planeTask) mustEnroll(who *identity.Identity) bool {
	if !who.Enrolled() {
		return true
	}
	return time.Now().After(who.Certificate.NotAfter) && p.hasToken()
}

func (p *planeTask) hasToken() bool {
	_, err := identity.ReadToken(p.cfg.Enrollment.TokenFile)
	return err == nil
}

// load takes the identity from disk. A damaged one makes the host enrol again;
// one that cannot be read is an error: enrolling would overwrite it.
func (p *planeTask) load() error {
	who, err := identity.Load(p.cfg.Paths.State)
	var corrupt *store.CorruptError
	switch {
	case errors.As(err, &corrupt):
		p.log.Error("the host's identity is lost", zap.Error(err))
		p.lost = err
	case err != nil:
		return err
	}
	p.update(func(f *facts) { f.identity, f.enrollErr = who, p.lost })
	return nil
}

func (p *planeTask) update(change func(*facts)) {
	p.core.mu.Lock()
	change(&p.core.facts)
	p.core.mu.Unlock()
	p.core.notify()
}

func (p *planeTask) identity() *identity.Identity {
	p.core.mu.Lock()
	defer p.core.mu.Unlock()
	return p.core.facts.identity
}

func (p *planeTask) trust() identity.Trust {
	host, _, _ := net.SplitHostPort(p.cfg.Plane.Address)
	t := identity.Trust{Pin: p.cfg.Plane.PinSum(), ServerName: host}
	if id := p.identity(); id != nil {
		t.CAs = id.CAs
	}
	return t
}

// waitForHostID reads the file that hybrid-agent-op writes at boot.
func (p *planeTask) waitForHostID(ctx context.Context) (hostid.ID, bool) {
	path := filepath.Join(p.cfg.Paths.OpState, hostid.FileName)
	for told := ""; ; {
		id, err := hostid.Read(path)
		if err == nil {
			return id, true
		}
		if text := err.Error(); text != told && !errors.Is(err, fs.ErrNotExist) {
			p.log.Error("cannot read the host ID", zap.Error(err))
			told = text
		} else if told == "" {
			p.log.Info("waiting for hybrid-agent-op to write the host ID", zap.String("file", path))
			told = text
		}
		if !pause(ctx, hostIDPoll) {
			return hostid.ID{}, false
		}
	}
}

// enroll tries until the host has a certificate; false says that ctx ended.
func (p *planeTask) enroll(ctx context.Context, id hostid.ID, who *identity.Identity) bool {
	backoff := session.Backoff{First: enrollFirst, Cap: enrollCap}
	for ctx.Err() == nil {
		next, err := p.enrollOnce(ctx, id, who)
		if err == nil {
			p.log.Info("enrolled", zap.String("host_id", id.ID), zap.Time("certificate_until", next.Certificate.NotAfter))
			p.update(func(f *facts) { f.identity, f.enrollErr = next, nil })
			return true
		}
		if ctx.Err() != nil {
			break
		}
		if next != nil {
			who = next // the key that was made for the first attempt
		}
		if p.lost != nil {
			err = fmt.Errorf("%w (%w)", err, p.lost)
		}
		wait := time.Second + backoff.Next()
		p.log.Warn("cannot enrol", zap.Error(err), zap.Duration("retry_in", wait.Round(time.Millisecond)))
		p.update(func(f *facts) {
			f.enrollErr = err
			f.session.NextAttempt = time.Now().Add(wait)
		})
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-p.nudge:
			pause(ctx, min(wait, time.Second))
		}
		timer.Stop()
	}
	return false
}

// enrollOnce returns the identity so far with an error, too.
func (p *planeTask) enrollOnce(ctx context.Context, id hostid.ID, who *identity.Identity) (*identity.Identity, error) {
	token, err := identity.ReadToken(p.cfg.Enrollment.TokenFile)
	if err != nil {
		return who, err
	}
	if who == nil {
		if who, err = identity.New(); err != nil {
			return nil, err
		}
		// The key is kept before it is shown to anybody: an answer that is lost
		// can be asked for again with it.
		if err := who.Save(p.cfg.Paths.State); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, enrollTimeout)
	defer cancel()
	trust, handshake := p.trust(), &identity.Handshake{}
	conn, err := session.Dial(p.cfg.Plane.Address, trust.TLS(nil, handshake), session.DefaultKeepalive)
	if err != nil {
		return who, err
	}
	defer func() { _ = conn.Close() }()
	next, err := who.Enroll(ctx, conn, handshake, trust, identity.EnrollRequest{
		Address: p.cfg.Plane.Address, Token: token, HostID: id.ID, Fingerprint: fingerprintProto(id.Fingerprint),
	})
	if err != nil {
		return who, err
	}
	return next, next.Save(p.cfg.Paths.State)
}

// eraseToken has root remove the token; it is used up or limited anyway, so a
// failure is only told.
func (p *planeTask) eraseToken(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, enrollTimeout)
	defer cancel()
	if err := p.door.EraseToken(ctx); err != nil {
		p.log.Warn("cannot erase the enrolment token; remove it by hand", zap.Error(err))
	}
}
