package agent

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"hybridagent/agent/hostid"
	"hybridagent/agent/identity"
	"hybridagent/agent/session"
)

// enroll tries until the host has a certificate; false says that ctx ended.
func (p *planeTask) enroll(ctx context.Context, id hostid.ID) bool {
	backoff := session.Backoff{First: enrollFirst, Cap: enrollCap}
	for ctx.Err() == nil {
		err := p.enrollOnce(ctx, id)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			break
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

// recover enrols again where the plane does not take the identity in use, and a
// token is there that did not bring it: a host that was removed, one whose
// certificate has ended, one whose plane has another CA. The former identity stays
// until there is another, so that a refusal that passes costs nothing.
func (p *planeTask) recover(ctx context.Context, id hostid.ID, cause error) (bool, error) {
	who, reason := p.identity(), identity.ReasonOf(cause, "")
	refused := reason == identity.ReasonRequestRefused
	useless := time.Now().After(who.Certificate.NotAfter) || !who.Of(p.trust())
	if !refused && (!useless || reason != identity.ReasonPlaneUnreachable) {
		return false, cause
	}
	token, err := identity.ReadToken(p.cfg.Enrollment.TokenFile)
	if err != nil || token == p.spent {
		return false, cause // it names the way back
	}
	if refused {
		if err := p.replace(who); err != nil {
			return false, fmt.Errorf("%w (%w)", cause, err)
		}
	}
	p.log.Info("the plane does not take this host's certificate; enrolling again", zap.Error(cause))
	switch err := p.enrollOnce(ctx, id); {
	case err == nil:
		return true, cause
	case identity.ReasonOf(err, "") == reason:
		return false, cause
	default:
		return false, fmt.Errorf("%w (%w)", cause, err)
	}
}

// replace begins an enrolment with another key.
func (p *planeTask) replace(who *identity.Identity) error {
	next, err := who.Replace()
	if err != nil || next == who {
		return err
	}
	return p.keep(next)
}

// keep writes an identity to disk, then uses it.
func (p *planeTask) keep(who *identity.Identity) error {
	if err := who.Save(p.cfg.Paths.State); err != nil {
		return err
	}
	p.update(func(f *facts) { f.identity = who })
	return nil
}

// enrollOnce exchanges the token for a certificate.
func (p *planeTask) enrollOnce(ctx context.Context, id hostid.ID) error {
	token, err := identity.ReadToken(p.cfg.Enrollment.TokenFile)
	if err != nil {
		return err
	}
	who := p.identity()
	if who == nil {
		if who, err = identity.New(); err != nil {
			return err
		}
		// The key is kept before it is shown to anybody: an answer that is lost
		// can be asked for again with it.
		if err := p.keep(who); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, enrollTimeout)
	defer cancel()
	trust, handshake := p.trust(), &identity.Handshake{}
	conn, err := session.Dial(p.cfg.Plane.Address, trust.TLS(nil, handshake), session.DefaultKeepalive)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	next, err := who.Candidate().Enroll(ctx, conn, handshake, trust, identity.EnrollRequest{
		Address: p.cfg.Plane.Address, Token: token, HostID: id.ID, Fingerprint: fingerprintProto(id.Fingerprint),
	})
	if err != nil {
		return err
	}
	if err := p.keep(next); err != nil {
		return err
	}
	p.spent = token
	p.update(func(f *facts) { f.enrollErr = nil })
	p.log.Info("enrolled", zap.String("host_id", id.ID), zap.Time("certificate_until", next.Certificate.NotAfter))
	return nil
}

// useUpToken has the token erased: the plane has welcomed the host, so that it
// needs none. Before that a token is the way back in for a host that is refused.
func (p *planeTask) useUpToken() {
	token, err := identity.ReadToken(p.cfg.Enrollment.TokenFile)
	if err != nil {
		return
	}
	p.spent = token
	select {
	case p.welcomed <- token:
	default:
	}
}

// eraseTokens has root remove tokens until ctx ends. They are used up or limited
// anyway, so a failure is only told, and the next welcome tries again.
func (p *planeTask) eraseTokens(ctx context.Context) {
	for erased := ""; ; {
		select {
		case <-ctx.Done():
			return
		case token := <-p.welcomed:
			if token == erased {
				continue // systemd's copy of it
			}
			if err := p.eraseToken(ctx); err != nil && ctx.Err() == nil {
				p.log.Warn("cannot erase the enrolment token; remove it by hand", zap.Error(err))
				continue
			}
			erased = token
		}
	}
}

func (p *planeTask) eraseToken(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, enrollTimeout)
	defer cancel()
	return p.door.EraseToken(ctx)
}
