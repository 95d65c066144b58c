package agent

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"path/filepath"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

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
	// spent is the token that brought the identity in use: systemd keeps it
	// readable although root has erased the file, and a host that was removed must
	// not come back by it. Of the goroutine that runs.
	spent string
	// welcomed takes the token that is there when the plane welcomes the host.
	welcomed chan string
	// running is set once enrolled; guarded by core.mu.
	running *session.Session
}

func newPlaneTask(log *zap.Logger, cfg config.Config, c *core, door Door) *planeTask {
	return &planeTask{
		log: log, cfg: cfg, core: c, door: door, ready: make(chan struct{}),
		nudge: make(chan struct{}, 1), welcomed: make(chan string, 1),
	}
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
	if !p.identity().Enrolled() && !p.enroll(ctx, id) {
		return nil
	}
	s := session.New(session.Options{
		Log: p.log, Address: p.cfg.Plane.Address, HostID: id.ID, Handler: p, Outbox: p.core.outbox,
		Trust: p.trust, Identity: p.identity,
		OnState: func(state session.State) { p.update(func(f *facts) { f.session = state }) },
		Recover: func(ctx context.Context, err error) (bool, error) { return p.recover(ctx, id, err) },
	})
	p.core.mu.Lock()
	p.running = s
	p.core.mu.Unlock()
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error { p.eraseTokens(ctx); return nil })
	tasks.Go(func() error { return s.Run(ctx) })
	return tasks.Wait()
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
