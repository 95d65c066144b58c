package fleet

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"hybridagent/plane/ca"
	"hybridagent/plane/kind"
	"hybridagent/plane/store"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// asHost is the context of a call that TLS has verified as a host's, and the hash
// of the host's key.
func asHost(t *testing.T, id string) (context.Context, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	hash, err := ca.KeyHash(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{PublicKey: key.Public(), URIs: []*url.URL{{Scheme: "hybrid", Host: "host", Path: "/" + id}}}
	info := credentials.TLSInfo{State: tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{cert}}}}
	return peer.NewContext(t.Context(), &peer.Peer{AuthInfo: info}), hash
}

func wantRemoved(t *testing.T, err error) {
	t.Helper()
	st, _ := status.FromError(err)
	if st.Code() != codes.PermissionDenied || !strings.Contains(st.Message(), "hybridctl token create") {
		t.Fatalf("got %v, want that the host was removed and how to bring it back", err)
	}
}

// TestRemovedWhileItConnects: the identity was read before the removal, and the
// rest comes after it. No ghost of the host may be left.
func TestRemovedWhileItConnects(t *testing.T) {
	st := newStore(t)
	f, _ := newFleet(t, st)
	ctx, key := asHost(t, "edge-1")
	write, err := identity{Keys: []string{key}}.write("edge-1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Commit(t.Context(), nil, []store.Write{write}); err != nil {
		t.Fatal(err)
	}
	_, err = f.admit(ctx, &agentv1.Hello{HostId: "edge-1"})
	wantRemoved(t, err)
	if f.host("edge-1") != nil || len(f.unsaved.take(1)) != 0 {
		t.Error("a ghost of the host is left")
	}
}

// TestRemovedAfterItWasAdmitted: its stream would be one that nobody ends.
func TestRemovedAfterItWasAdmitted(t *testing.T) {
	f, _ := newFleet(t, newStore(t))
	key := store.ResourceKey(kind.Host, "edge-1")
	if err := f.apply(store.Batch{Revision: 5, Changes: []store.Change{{Entry: store.Entry{Key: key}}}}); err != nil {
		t.Fatal(err)
	}
	h, err := f.known(t.Context(), "edge-1")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.apply(store.Batch{Revision: 6, Changes: []store.Change{{Entry: store.Entry{Key: key}, Deleted: true}}}); err != nil {
		t.Fatal(err)
	}
	wantRemoved(t, f.attach(h, &session{cancel: func() {}}, &agentv1.Hello{HostId: "edge-1"}))
	if h.connected {
		t.Error("the removed host counts as connected")
	}
}
