package netcfg

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.uber.org/zap"
)

// BenchmarkSet writes 10,000 routes, leads them elsewhere, and takes them back.
func BenchmarkSet(b *testing.B) {
	goIn := enterNetns(b)
	nic := addNIC(b, "lan0", nodeIP+"/24")
	k := NewKeeper(zap.NewNop(), KeeperOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	goIn(func() { ended <- k.Run(ctx) })
	defer func() { cancel(); <-ended }()
	var first, second Desired
	for i := range 10000 {
		dst := fmt.Sprintf("10.%d.%d.0/24", 100+i/250, i%250)
		first.Routes = append(first.Routes, ours(nic, dst, server, nodeIP))
		second.Routes = append(second.Routes, ours(nic, dst, "10.200.0.3", nodeIP))
	}
	var took [3]time.Duration
	for b.Loop() {
		for step, d := range []Desired{first, second, {}} {
			begin := time.Now()
			if _, err := k.Set(ctx, d); err != nil {
				b.Fatal(err)
			}
			took[step] += time.Since(begin)
		}
	}
	for step, name := range []string{"install", "replace", "delete"} {
		b.ReportMetric(float64(took[step].Microseconds())/1000/float64(b.N), name+"-ms")
	}
}
