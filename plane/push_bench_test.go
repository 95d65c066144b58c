package plane_test

import (
	"testing"

	"hybridagent/plane/planetest"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// BenchmarkApplyToHost is the whole way of a change: an operator's call, a commit
// to etcd, the watch, compilation, push, receipt by a host over mTLS.
func BenchmarkApplyToHost(b *testing.B) {
	p := planetest.Start(b)
	h := p.Enrolled("edge-1")
	site := planetest.NewSite(b, "edge-1")
	p.Apply(site.All()...)
	s := h.Connect(0, "")
	s.Assignment()
	op := p.Operator()
	names := []string{"203.0.113.1", "203.0.113.2"}
	for i := 0; b.Loop(); i++ {
		site.Pool.GetNodePool().NtpServers = names[i%2 : i%2+1]
		if _, err := op.Apply(b.Context(), &planev1.ApplyRequest{Resource: site.Pool}); err != nil {
			b.Fatal(err)
		}
		s.Assignment()
	}
}
