package plane_test

import (
	"fmt"
	"testing"
	"time"

	"hybridagent/plane/kind"
	"hybridagent/plane/planetest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// TestSlowHostHoldsNobodyUp: a host that reads nothing is pushed more than its
// flow control takes, while another gets every change at once; and the slow one
// can still be sent away.
func TestSlowHostHoldsNobodyUp(t *testing.T) {
	p := planetest.Start(t)
	slow, quick := p.Enrolled("edge-1"), p.Enrolled("edge-2")
	stream, err := slow.Agent().Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&agentv1.AgentMessage{Message: &agentv1.AgentMessage_Hello{Hello: &agentv1.Hello{HostId: "edge-1", Fingerprint: slow.Fingerprint}}}); err != nil {
		t.Fatal(err)
	}
	site := planetest.NewSite(t, "edge-1", "edge-2")
	p.Apply(site.All()...)
	s := quick.Connect(0, "")
	s.Assignment()
	op := p.Operator()
	const changes = 300 // of about 700 bytes: three times the window of a stream
	for i := range changes {
		site.Pool.GetNodePool().Labels["change"] = fmt.Sprint(i)
		if _, err := op.Apply(t.Context(), &planev1.ApplyRequest{Resource: site.Pool}); err != nil {
			t.Fatal(err)
		}
		if a := decode(t, s.Assignment()); a.GetLabels()["change"] != fmt.Sprint(i) {
			t.Fatalf("change %s came for %d", a.GetLabels()["change"], i)
		}
	}
	site.Pool.GetNodePool().Hosts = site.Pool.GetNodePool().Hosts[1:]
	p.Apply(site.Pool)
	if _, err := op.Delete(t.Context(), &planev1.DeleteRequest{Kind: kind.Host, Name: "edge-1"}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan int, 1)
	time.AfterFunc(2*time.Second, func() {
		n := 0
		for {
			if _, err := stream.Recv(); err != nil {
				ended <- n
				return
			}
			n++
		}
	})
	select {
	case n := <-ended:
		if n >= changes {
			t.Errorf("all %d messages were kept for a host that does not read", n)
		}
	case <-time.After(10 * time.Second):
		t.Error("the stream of the slow host is still open")
	}
}
