package door

import (
	"encoding/binary"
	"net"
	"sync"
	"testing"
	"time"

	"hybridagent/agent/operation"
)

// TestSlowPeersHarmNobody holds many connections that trickle the bytes of a large
// frame: those that have a place lose it when their time is over, the others are
// refused at once, and a real request is served while they still try.
func TestSlowPeersHarmNobody(t *testing.T) {
	b := asUser(t, 990, nil)
	end := make(chan struct{})
	var slow sync.WaitGroup
	for range 300 {
		slow.Go(func() { trickle(b.path, end) })
	}
	defer slow.Wait()
	defer close(end)
	deadline := time.Now().Add(20 * time.Second)
	for served := 0; served < 3; {
		err := b.client.EraseToken(t.Context())
		if err == nil {
			served++
		} else if !isRefusal(err, busy) {
			t.Fatalf("EraseToken = %v", err)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d requests were served beside slow peers: %v", served, err)
		}
	}
	if open := len(b.door.daemon.slots); open > maxConnections {
		t.Errorf("%d connections are served at once", open)
	}
}

// trickle begins frames and never ends them.
func trickle(path string, end <-chan struct{}) {
	header := binary.BigEndian.AppendUint32(nil, 100<<10)
	for {
		conn, err := net.Dial("unix", path)
		if err != nil {
			return
		}
		_, _ = conn.Write(header)
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			_, _ = operation.ReadFrame(conn)
		}()
		for waiting := true; waiting; {
			select {
			case <-end:
				_ = conn.Close()
				<-answered
				return
			case <-answered:
				waiting = false
			case <-time.After(10 * time.Millisecond):
				_, _ = conn.Write([]byte{0})
			}
		}
		_ = conn.Close()
		select {
		case <-end:
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}
