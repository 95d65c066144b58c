package plane_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/proto"

	"hybridagent/plane/planetest"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// TestImageIsSignedByItsDigestOnly: with the registry out of reach the rollout says
// so and goes on without; a tag is never signed.
func TestImageIsSignedByItsDigestOnly(t *testing.T) {
	const image = "registry.example/ubuntu:nodeadm-1.31.5-shop"
	digest := "sha256:" + strings.Repeat("ab", 32)
	var away atomic.Bool
	away.Store(true)
	asked := make(chan string, 100)
	p := planetest.StartWithRegistry(t, func(_ context.Context, what string) (string, error) {
		asked <- what
		if away.Load() {
			return "", errors.New("cannot resolve image " + what + ": registry registry.example does not answer")
		}
		return digest, nil
	})
	s := &shop{Plane: p, t: t, site: planetest.NewSite(t, "edge-1"), nodes: map[string]*planetest.Node{}}
	s.Apply(s.site.All()...)
	s.nodes["edge-1"] = s.Enrolled("edge-1").Play(nil)
	s.want("edge-1", "provision")
	s.eventually(func(st *planev1.NodePoolStatus) bool { return st.GetState() == planev1.PoolState_POOL_STATE_RUNNING })
	profile := proto.CloneOf(s.site.Profile)
	profile.GetHybridProfile().Version = "2.0.0"
	profile.GetHybridProfile().Os = &planev1.OSLayer{
		Mode: planev1.OSMode_OS_MODE_APPLIANCE, Manifest: "pack: {content: {images: [{image: '" + image + "'}]}}",
	}
	s.site.Pool.GetNodePool().ProfileVersion = "2.0.0"
	s.Apply(profile, s.site.Pool)
	s.rollout(rolloutRuns, "host edge-1 waits: cannot resolve image "+image+": registry registry.example does not answer (tried again every 15s)")
	s.want("edge-1", "provision")
	if what := <-asked; what != image {
		t.Fatalf("asked for %s", what)
	}
	away.Store(false)
	s.Restart() // sooner than the 15 s
	s.nodes["edge-1"].Connect()
	s.want("edge-1", "provision repave")
	if op := s.nodes["edge-1"].Operations()[1]; op.GetOsImageDigest() != digest || op.GetNode().GetOsImage().GetUri() != image {
		t.Fatalf("operation %v", op)
	}
	s.rollout(rolloutDone, "")
}
