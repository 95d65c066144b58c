package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"hybridagent/agent/operation"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// answer is what came back for a frame: the refusal's reason and text, the kind of
// another reply, or what ended the connection.
func answer(conn net.Conn) string {
	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	payload, err := operation.ReadFrame(conn)
	if err != nil {
		return "none"
	}
	reply := &agentv1.DoorReply{}
	if err := proto.Unmarshal(payload, reply); err != nil {
		return "unreadable"
	}
	if refusal := reply.GetRefusal(); refusal != nil {
		return fmt.Sprintf("refused %v %s", refusal.GetReason(), refusal.GetMessage())
	}
	if progress := reply.GetProgress(); progress != nil {
		return fmt.Sprintf("progress %s %s %s", progress.GetOperationId(), operation.StateName(progress.GetState()), progress.GetMessage())
	}
	return fmt.Sprintf("answered %T", reply.GetReply())
}

// raw sends bytes and returns the answer.
func raw(socket string, input []byte) string {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return "no connection: " + err.Error()
	}
	defer func() { _ = conn.Close() }()
	_, _ = conn.Write(input)
	return answer(conn)
}

func request(socket string, files []string) {
	for _, file := range files {
		data, err := os.ReadFile(file)
		must(err)
		fmt.Println(raw(socket, data))
	}
}

// burst opens connections at once, each with a small request, and counts the answers.
func burst(socket string, n int) {
	frame := encode(&agentv1.DoorRequest{Request: &agentv1.DoorRequest_EraseToken{EraseToken: &agentv1.EraseTokenRequest{}}})
	var mutex sync.Mutex
	counts := map[string]int{}
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			got := raw(socket, frame)
			if len(got) > 44 {
				got = got[:44]
			}
			mutex.Lock()
			counts[got]++
			mutex.Unlock()
		})
	}
	all.Wait()
	for what, count := range counts {
		fmt.Println(count, what)
	}
}

// hold keeps connections open that say half a frame, or nothing.
func hold(socket string, n int, patience time.Duration) {
	var held []net.Conn
	refused := 0
	for i := range n {
		conn, err := net.DialTimeout("unix", socket, time.Second)
		if err != nil {
			refused++
			continue
		}
		if i%2 == 0 {
			_, _ = conn.Write([]byte{0, 7, 255, 255, 1})
		}
		held = append(held, conn)
	}
	fmt.Println("held", len(held), "not connected", refused)
	end := time.After(patience)
	for {
		select {
		case <-end:
			return
		case <-time.After(20 * time.Millisecond):
			// A trickle on those that are still served: each byte is in time.
			for _, conn := range held {
				_ = conn.SetWriteDeadline(time.Now().Add(time.Millisecond))
				if _, err := conn.Write([]byte{0}); err != nil && errors.Is(err, io.ErrClosedPipe) {
					continue
				}
			}
		}
	}
}

// encode makes a frame.
func encode(request *agentv1.DoorRequest) []byte {
	payload, err := proto.Marshal(request)
	must(err)
	return append([]byte{byte(len(payload) >> 24), byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload))}, payload...)
}
