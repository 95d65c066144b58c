package door

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"go.uber.org/zap"

	"hybridagent/agent/operation"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Door serves a socket.
type Door struct {
	log          *zap.Logger
	opt          Options
	daemon, root *class
	costs        costs
	noise        *noise
	// dismissed are those who were refused and may still be writing.
	dismissed chan struct{}
	// decoding is held while a request is decoded and checked, which can take many
	// times its size in memory.
	decoding sync.Mutex

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
	if opt.peerOf == nil {
		opt.peerOf = peerOf
	}
	return &Door{
		log: log, opt: opt, daemon: newClass(maxConnections), root: newClass(maxRootConnections),
		costs: newCosts(), noise: newNoise(), dismissed: make(chan struct{}, maxConnections), since: time.Now(),
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
		d.admit(ctx, conn, &connections)
	}
}

func pause(ctx context.Context, wait time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
}

// admit decides who is served. Who is not is told so at once: thousands of them
// cost no more than their turn.
func (d *Door) admit(ctx context.Context, conn net.Conn, connections *sync.WaitGroup) {
	if !d.enter() {
		_ = conn.Close()
		return
	}
	peer, err := d.opt.peerOf(conn)
	if err != nil {
		d.log.Error("cannot tell who connects", zap.Error(err))
		d.leave(conn)
		return
	}
	places, refusal := d.placesOf(peer)
	if refusal == nil {
		refusal = places.enter()
	}
	if refusal != nil {
		d.refuse(conn, peer, refusal)
		d.dismiss(conn, connections)
		return
	}
	connections.Go(func() {
		defer d.leave(conn)
		defer places.leave()
		if err := d.serve(ctx, conn, peer); err != nil {
			d.refuse(conn, peer, asRefusal(err))
			drain(conn)
		}
	})
}

// dismiss closes the connection of a peer that was refused. A few get the time to
// read on; in a burst that is not to be had.
func (d *Door) dismiss(conn net.Conn, connections *sync.WaitGroup) {
	select {
	case d.dismissed <- struct{}{}:
	default:
		d.leave(conn)
		return
	}
	connections.Go(func() {
		defer func() { <-d.dismissed }()
		defer d.leave(conn)
		drain(conn)
	})
}

// placesOf returns the places that a peer may take.
func (d *Door) placesOf(peer peer) (*class, *operation.Refusal) {
	switch {
	case !d.opt.Allowed(peer.uid):
		return nil, operation.Refuse(forbidden, "user %d may not ask hybrid-agent-op for anything", peer.uid)
	case peer.uid == 0:
		return d.root, nil
	default:
		return d.daemon, nil
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

// leave closes a connection that enter counted.
func (d *Door) leave(conn net.Conn) {
	_ = conn.Close()
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.open--
	d.since = time.Now()
}

// refuse logs a refusal, within bounds, and sends it.
func (d *Door) refuse(conn net.Conn, peer peer, refusal *operation.Refusal) {
	if muted, ok := d.noise.passes(refusal.Reason); ok {
		d.log.Warn("request refused", zap.Uint32("uid", peer.uid), zap.Int32("pid", peer.pid),
			zap.Stringer("reason", refusal.Reason), zap.String("message", refusal.Message), zap.Int64("not_logged", muted))
	}
	_ = d.send(conn, &agentv1.DoorReply{Reply: &agentv1.DoorReply_Refusal{Refusal: refusal.Proto()}})
}

func (d *Door) send(conn net.Conn, reply *agentv1.DoorReply) error {
	if err := conn.SetWriteDeadline(time.Now().Add(writeLimit)); err != nil {
		return err
	}
	return operation.WriteFrame(conn, reply)
}

// drain reads on for a moment after a refusal, so that a peer that still writes
// its frame sees the refusal and no broken connection.
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
