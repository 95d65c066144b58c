package door

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"hybridagent/agent/operation"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Bounds of the door.
const (
	// readLimit is how long a peer may take to send its frame.
	readLimit = 5 * time.Second
	// writeLimit is how long a peer may take to take an answer.
	writeLimit = 5 * time.Second
	// maxConnections is how many are served at once; more are told to come back.
	maxConnections = 16
	// requestsPerSecond and requestBurst bound the work that a peer can cause.
	requestsPerSecond = 20
	requestBurst      = 60
)

// Operations is what the door needs of the engine.
type Operations interface {
	Submit(op *agentv1.Operation, signed []byte) error
	Follow(ctx context.Context, id string, send func(*agentv1.OperationProgress) error) error
}

// Options are what the door serves and whom.
type Options struct {
	// Trust is what signed operations are checked against.
	Trust operation.Trust
	// Allowed reports whether a user may use the door.
	Allowed func(uid uint32) bool
	// Operations runs signed operations.
	Operations Operations
	// NodeKeyCSR, InstallNodeCertificate, EraseToken and ReadNodeState serve the
	// requests of the same names.
	NodeKeyCSR             func() ([]byte, error)
	InstallNodeCertificate func(der []byte) error
	EraseToken             func() error
	ReadNodeState          func(ctx context.Context) (*agentv1.NodeState, error)
	// Now is the clock.
	Now func() time.Time
	// ReadLimit replaces the time to send a frame, for tests.
	ReadLimit time.Duration
}

// Door serves a socket.
type Door struct {
	log   *zap.Logger
	opt   Options
	slots chan struct{}
	limit *rate.Limiter
	// noise bounds how much of the log refusals can fill.
	noise *rate.Limiter
	muted atomic.Int64

	mutex  sync.Mutex
	since  time.Time
	open   int
	closed bool
}

// New returns a door; Serve opens it.
func New(log *zap.Logger, opt Options) *Door {
	if opt.ReadLimit == 0 {
		opt.ReadLimit = readLimit
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	return &Door{
		log: log, opt: opt,
		slots: make(chan struct{}, maxConnections),
		limit: rate.NewLimiter(requestsPerSecond, requestBurst),
		noise: rate.NewLimiter(5, 20),
		since: time.Now(),
	}
}

// CloseIfIdle closes the door if no connection was open for this long, and
// reports whether it did. From then on connections are dropped unread, so that
// none is served by a process that is about to end.
func (d *Door) CloseIfIdle(idle time.Duration) bool {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if d.open > 0 || time.Since(d.since) < idle {
		return false
	}
	d.closed = true
	return true
}

// Serve takes connections until the context ends, then closes the listener and
// waits for those under way. It returns nil when it was asked to end.
func (d *Door) Serve(ctx context.Context, listener net.Listener) error {
	var connections sync.WaitGroup
	defer connections.Wait()
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			if err == nil {
				_ = conn.Close()
			}
			return nil
		}
		if err != nil {
			var temporary interface{ Temporary() bool }
			if errors.As(err, &temporary) && temporary.Temporary() {
				// Out of file descriptors: those under way will free some.
				d.log.Warn("cannot accept a connection", zap.Error(err))
				pause(ctx, 100*time.Millisecond)
				continue
			}
			return err
		}
		connections.Go(func() { d.handle(ctx, conn) })
	}
}

func pause(ctx context.Context, wait time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
}

// handle serves one connection: one request.
func (d *Door) handle(ctx context.Context, conn net.Conn) {
	defer func() { _ = conn.Close() }()
	if !d.enter() {
		return
	}
	defer d.leave()
	peer, err := peerOf(conn)
	if err != nil {
		d.log.Error("cannot tell who connects", zap.Error(err))
		return
	}
	refuse := func(refusal *operation.Refusal) {
		d.report(peer, refusal)
		_ = d.send(conn, &agentv1.DoorReply{Reply: &agentv1.DoorReply_Refusal{Refusal: refusal.Proto()}})
		drain(conn)
	}
	if !d.opt.Allowed(peer.uid) {
		refuse(operation.Refuse(forbidden, "user %d may not ask hybrid-agent-op for anything", peer.uid))
		return
	}
	select {
	case d.slots <- struct{}{}:
		defer func() { <-d.slots }()
	default:
		refuse(operation.Refuse(busy, "hybrid-agent-op serves %d connections already; try again", maxConnections))
		return
	}
	if !d.limit.Allow() {
		refuse(operation.Refuse(busy, "too many requests at once; try again in a moment"))
		return
	}
	if err := d.serve(ctx, conn, peer); err != nil {
		refuse(asRefusal(err))
	}
}

// enter counts a connection, unless the door is closed.
func (d *Door) enter() bool {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if d.closed {
		return false
	}
	d.open++
	return true
}

func (d *Door) leave() {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.open--
	d.since = time.Now()
}

// report logs a refusal, within bounds.
func (d *Door) report(peer peer, refusal *operation.Refusal) {
	if !d.noise.Allow() {
		d.muted.Add(1)
		return
	}
	d.log.Warn("request refused", zap.Uint32("uid", peer.uid), zap.Int32("pid", peer.pid),
		zap.Stringer("reason", refusal.Reason), zap.String("message", refusal.Message), zap.Int64("not_logged", d.muted.Swap(0)))
}

func (d *Door) send(conn net.Conn, reply *agentv1.DoorReply) error {
	if err := conn.SetWriteDeadline(time.Now().Add(writeLimit)); err != nil {
		return err
	}
	return operation.WriteFrame(conn, reply)
}

// drain reads on for a moment after a refusal: closing a socket with unread
// bytes would reset the connection and lose the refusal.
func drain(conn net.Conn) {
	_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	buffer := make([]byte, 32<<10)
	for total := 0; total < 2*agentv1.MaxDoorFrameBytes; {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		total += n
	}
}

// asRefusal turns any error into what the peer is told.
func asRefusal(err error) *operation.Refusal {
	var refusal *operation.Refusal
	if errors.As(err, &refusal) {
		return refusal
	}
	return operation.Refuse(failed, "%v", err)
}
