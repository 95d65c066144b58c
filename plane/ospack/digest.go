package ospack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// resolveDeadline bounds one question to a registry, tries and logins included.
const resolveDeadline = 30 * time.Second

// Resolver asks registries for digests. The zero value is ready for use.
type Resolver struct {
	// Transport carries the requests; nil: the library's own, with the proxies of
	// the environment.
	Transport http.RoundTripper
	// Keychain has the registries' credentials; nil: those of docker login, from
	// DOCKER_CONFIG or ~/.docker/config.json of the plane's user.
	Keychain authn.Keychain
	// PlainHTTP allows registries without TLS that are not on this machine. Who can
	// answer for such a registry chooses what hosts boot.
	PlainHTTP bool
}

// Resolve asks an image's registry which digest its tag has now: sha256:<64 hex>.
// An image that names a digest is answered without asking. The error is one that
// errors.As finds as *ResolveError.
func Resolve(ctx context.Context, image string) (string, error) {
	return Resolver{}.Resolve(ctx, image)
}

// Resolve is the function Resolve with the resolver's settings.
func (r Resolver) Resolve(ctx context.Context, image string) (string, error) {
	ref, err := reference(image)
	if err != nil {
		return "", &ResolveError{Image: image, Cause: NotAnImage, Err: err}
	}
	if digest, ok := ref.(name.Digest); ok {
		return r.checked(image, digest.DigestStr())
	}
	ctx, cancel := context.WithTimeout(ctx, resolveDeadline)
	defer cancel()
	options := r.options(ctx)
	found, err := remote.Head(ref, options...)
	if err == nil {
		return r.checked(image, found.Digest.String())
	}
	// A registry may leave the digest out of its answer to HEAD; then it is made
	// from the manifest itself.
	if !refused(err) && ctx.Err() == nil {
		if whole, again := remote.Get(ref, options...); again == nil {
			return r.checked(image, whole.Digest.String())
		}
	}
	return "", &ResolveError{Image: image, Registry: ref.Context().RegistryStr(), Cause: causeOf(err), Err: err}
}

func (r Resolver) options(ctx context.Context) []remote.Option {
	base, keys := r.Transport, r.Keychain
	if base == nil {
		base = remote.DefaultTransport
	}
	if keys == nil {
		keys = authn.DefaultKeychain
	}
	return []remote.Option{
		remote.WithContext(ctx), remote.WithAuthFromKeychain(keys), remote.WithUserAgent("hybrid-plane"),
		remote.WithTransport(&guard{next: base, plain: r.PlainHTTP}),
	}
}

// checked refuses other digests than those that an operation can carry.
func (r Resolver) checked(image, digest string) (string, error) {
	hash, ok := strings.CutPrefix(digest, "sha256:")
	if !ok || len(hash) != 64 {
		return "", &ResolveError{Image: image, Cause: NotAnImage, Err: fmt.Errorf("digest %q is no sha256", cut(digest))}
	}
	return digest, nil
}

// guard keeps questions off plain HTTP, but on this machine: the library takes it
// for every private address.
type guard struct {
	next  http.RoundTripper
	plain bool
}

var errPlain = errors.New("the registry does not speak TLS")

func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme == "http" && !g.plain && !local(req.URL.Hostname()) {
		return nil, errPlain
	}
	return g.next.RoundTrip(req)
}

func local(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}

// refused reports an answer that asking otherwise would not change.
func refused(err error) bool {
	var answer *transport.Error
	return errors.As(err, &answer)
}

// causeOf sorts the library's errors.
func causeOf(err error) Cause {
	var answer *transport.Error
	var network net.Error
	var operation *net.OpError
	switch {
	case errors.As(err, &answer):
		switch answer.StatusCode {
		case http.StatusNotFound:
			return Unknown
		case http.StatusUnauthorized, http.StatusForbidden:
			return Unauthorised
		case http.StatusTooManyRequests:
			return Throttled
		}
		return Failed
	case errors.Is(err, errPlain):
		return NotTLS
	case errors.As(err, &network), errors.As(err, &operation), errors.Is(err, context.DeadlineExceeded):
		return Unreachable
	}
	return Failed
}
