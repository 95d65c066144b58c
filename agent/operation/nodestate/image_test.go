package nodestate

import (
	"context"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"hybridagent/agent/operation/nodekey"
)

// TestBootedImage: it is told fresh with each reading, also on a host that was not
// provisioned yet.
func TestBootedImage(t *testing.T) {
	t.Parallel()
	image := "registry.example/ubuntu:v1"
	root := t.TempDir()
	r := New(Options{
		Dir: t.TempDir(), Root: root, Runner: "systemd", Keys: nodekey.New(root, "edge-1", time.Now), Log: zaptest.NewLogger(t), Now: time.Now,
		Open: OpenAPI, BootedImage: func(context.Context) string { return image },
	})
	for _, want := range []string{"registry.example/ubuntu:v1", "registry.example/ubuntu:v2"} {
		image = want
		if state, err := r.Read(t.Context()); err != nil || state.GetBootedOsImage() != want {
			t.Errorf("Read = %v, %v; want %s", state, err, want)
		}
	}
}
