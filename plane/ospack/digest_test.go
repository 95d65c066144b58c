package ospack_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"go.uber.org/zap"

	"hybridagent/plane/ospack"
)

// hub is an in-memory registry with one image, behind what wrap makes of it.
func hub(t *testing.T, wrap func(http.Handler) http.Handler) (host string, digest v1.Hash) {
	t.Helper()
	inner := registry.New(registry.Logger(zap.NewStdLog(zap.NewNop())))
	handler := inner
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	host = strings.TrimPrefix(server.URL, "http://")
	ref, err := name.ParseReference(host + "/ubuntu:nodeadm-1.31.5")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, empty.Image); err != nil {
		t.Fatal(err)
	}
	if digest, err = empty.Image.Digest(); err != nil {
		t.Fatal(err)
	}
	if wrap != nil {
		handler = wrap(inner)
	}
	return host, digest
}

// anonymous keeps the credentials of whoever runs the tests out of them.
func anonymous() ospack.Resolver { return ospack.Resolver{Keychain: authn.NewMultiKeychain()} }

func TestResolve(t *testing.T) {
	t.Parallel()
	host, want := hub(t, nil)
	got, err := anonymous().Resolve(t.Context(), host+"/ubuntu:nodeadm-1.31.5")
	if err != nil || got != want.String() {
		t.Errorf("Resolve = %q, %v; want %s", got, err, want)
	}
	// A digest needs no registry.
	got, err = anonymous().Resolve(t.Context(), "nowhere.invalid/ubuntu:x@"+want.String())
	if err != nil || got != want.String() {
		t.Errorf("Resolve of a digest = %q, %v", got, err)
	}
}

// TestResolveWithoutDigestHeader: such a registry is asked for the manifest.
func TestResolveWithoutDigestHeader(t *testing.T) {
	t.Parallel()
	host, want := hub(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			recorder := httptest.NewRecorder()
			next.ServeHTTP(recorder, r)
			for key, values := range recorder.Header() {
				if key != "Docker-Content-Digest" {
					w.Header()[key] = values
				}
			}
			w.WriteHeader(recorder.Code)
			_, _ = w.Write(recorder.Body.Bytes())
		})
	})
	got, err := anonymous().Resolve(t.Context(), host+"/ubuntu:nodeadm-1.31.5")
	if err != nil || got != want.String() {
		t.Errorf("Resolve = %q, %v; want %s", got, err, want)
	}
}

// password lets only one user in.
func password(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, secret, ok := r.BasicAuth(); !ok || user != "plane" || secret != "right" {
			w.Header().Set("WWW-Authenticate", `Basic realm="hub"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED"}]}`, http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// keys is a keychain with one password.
type keys string

func (k keys) Resolve(authn.Resource) (authn.Authenticator, error) {
	return &authn.Basic{Username: "plane", Password: string(k)}, nil
}

func TestResolveErrors(t *testing.T) {
	t.Parallel()
	host, _ := hub(t, nil)
	locked, digest := hub(t, password)
	busy, _ := hub(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	})
	gone, _ := hub(t, nil)
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	for _, c := range []struct {
		name     string
		resolver ospack.Resolver
		image    string
		cause    ospack.Cause
		want     string
	}{
		{"tag", anonymous(), host + "/ubuntu:other", ospack.Unknown, "has no such image or tag; push the image"},
		{"repository", anonymous(), gone + "/debian:x", ospack.Unknown, "registry " + gone + " has no such image"},
		{"no login", anonymous(), locked + "/ubuntu:nodeadm-1.31.5", ospack.Unauthorised, "docker login " + locked},
		{"wrong login", ospack.Resolver{Keychain: keys("wrong")}, locked + "/ubuntu:nodeadm-1.31.5", ospack.Unauthorised, "does not let the plane read it"},
		{"closed", anonymous(), strings.TrimPrefix(closed.URL, "http://") + "/ubuntu:x", ospack.Unreachable, "cannot be reached"},
		{"name", ospack.Resolver{Transport: refusing{}, Keychain: authn.NewMultiKeychain()}, "registry.invalid/ubuntu:x", ospack.Unreachable, "registry registry.invalid cannot be reached"},
		{"teapot", anonymous(), busy + "/ubuntu:x", ospack.Failed, "look at the registry's log"},
		{"no image", anonymous(), "UPPER", ospack.NotAnImage, "write registry/repository:tag"},
		{"short digest", anonymous(), "r.example/u@sha256:abc", ospack.NotAnImage, "write registry/repository:tag"},
	} {
		got, err := c.resolver.Resolve(t.Context(), c.image)
		var failure *ospack.ResolveError
		if got != "" || !errors.As(err, &failure) || failure.Cause != c.cause || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %q, %v; want %q in it", c.name, got, err, c.want)
		}
	}
	if got, err := (ospack.Resolver{Keychain: keys("right")}).Resolve(t.Context(), locked+"/ubuntu:nodeadm-1.31.5"); err != nil || got != digest.String() {
		t.Errorf("with the right login: %q, %v", got, err)
	}
}

// refusing is a network without names.
type refusing struct{}

func (refusing) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, &net.DNSError{Err: "no such host", Name: "registry.invalid"}
}

// plainOnly is a network in which nothing speaks TLS.
type plainOnly struct{ asked []string }

func (p *plainOnly) RoundTrip(r *http.Request) (*http.Response, error) {
	p.asked = append(p.asked, r.URL.Scheme)
	if r.URL.Scheme == "https" {
		return nil, http.ErrSchemeMismatch
	}
	return nil, errors.New("asked without TLS")
}

// TestResolveWantsTLS: the digest becomes what hosts boot, so a private address
// is no reason to ask anybody who answers there.
func TestResolveWantsTLS(t *testing.T) {
	t.Parallel()
	network := &plainOnly{}
	_, err := ospack.Resolver{Transport: network, Keychain: authn.NewMultiKeychain()}.Resolve(t.Context(), "10.0.0.9/ubuntu:x")
	var failure *ospack.ResolveError
	if !errors.As(err, &failure) || failure.Cause != ospack.NotTLS || strings.Contains(strings.Join(network.asked, " "), "http ") || len(network.asked) == 0 {
		t.Errorf("Resolve = %v, asked %v", err, network.asked)
	}
	for _, scheme := range network.asked {
		if scheme != "https" {
			t.Errorf("asked over %s", scheme)
		}
	}
}

func TestResolveEndsWithItsContext(t *testing.T) {
	t.Parallel()
	hung := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(hung)
		<-r.Context().Done()
	}))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-hung; cancel() }()
	_, err := anonymous().Resolve(ctx, strings.TrimPrefix(server.URL, "http://")+"/ubuntu:x")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Resolve = %v", err)
	}
}
