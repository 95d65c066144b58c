package nodeapi_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hybridagent/nodeadm/nodeapi"
)

// failing returns the cause that a client of the server names.
func failing(t *testing.T, client *nodeapi.Client) nodeapi.Cause {
	t.Helper()
	_, err := client.Node(t.Context(), "edge-1")
	var unreachable *nodeapi.UnreachableError
	if !errors.Is(err, nodeapi.ErrUnreachable) || !errors.As(err, &unreachable) {
		t.Fatalf("the error is %v, not ErrUnreachable", err)
	}
	return unreachable.Cause
}

func TestUnreachableNamesTheCause(t *testing.T) {
	t.Parallel()
	refuse := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	plain, secure := httptest.NewServer(refuse), httptest.NewTLSServer(refuse)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	gone := httptest.NewServer(refuse)
	gone.Close()
	late := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}
	}}}
	noDNS := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "k"}}
	}}}
	for cause, client := range map[nodeapi.Cause]*nodeapi.Client{
		nodeapi.CauseUnauthorized: nodeapi.New(plain.URL, plain.Client()),
		nodeapi.CauseTLS:          nodeapi.New(secure.URL, http.DefaultClient),
		nodeapi.CauseRefused:      nodeapi.New(gone.URL, http.DefaultClient),
		nodeapi.CauseTimeout:      nodeapi.New("http://k", late),
		nodeapi.CauseDNS:          nodeapi.New("http://k", noDNS),
	} {
		if got := failing(t, client); got != cause {
			t.Errorf("the cause is %q, want %q", got, cause)
		}
	}
}

func TestUnreachableWithoutCredentials(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	path := kubeconfig(t, server.URL)
	program := filepath.Join(filepath.Dir(path), "authenticator")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho no role >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	client, err := nodeapi.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if got := failing(t, client); got != nodeapi.CauseCredentials {
		t.Errorf("the cause is %q", got)
	}
}

// TestCredentialsAreRenewed wants a second request when the server no longer
// takes the token of the first.
func TestCredentialsAreRenewed(t *testing.T) {
	asked := 0
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked++; asked == 1 {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte(`{"gitVersion":"v1.31.5"}`))
	}))
	defer server.Close()
	client, err := nodeapi.Open(kubeconfig(t, server.URL))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if version, err := client.ServerVersion(t.Context()); err != nil || version != "v1.31.5" || asked != 2 {
		t.Errorf("%q, %v after %d requests", version, err, asked)
	}
}

func TestCancelledIsNotUnreachable(t *testing.T) {
	t.Parallel()
	_, client := newDouble(t, edge1(nil, nil, nil))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client.Node(ctx, "edge-1"); !errors.Is(err, context.Canceled) || errors.Is(err, nodeapi.ErrUnreachable) {
		t.Errorf("the error is %v", err)
	}
}

func TestAnswersAreTold(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = w.Write([]byte(`{"kind":"Status","reason":"TooManyRequests","message":"Cannot evict pod","details":{"retryAfterSeconds":10,"causes":[{"reason":"DisruptionBudget","message":"The disruption budget web needs 2"}]}}`))
			return
		}
		w.WriteHeader(http.StatusBadGateway)
		_, _ = w.Write([]byte("<html>proxy</html>"))
	}))
	t.Cleanup(server.Close)
	client := nodeapi.New(server.URL, server.Client())
	var status *nodeapi.StatusError
	err := client.Evict(t.Context(), nodeapi.Pod{Namespace: "shop", Name: "web-0"}, nodeapi.Removal{})
	if !errors.As(err, &status) || status.Code != 429 || status.RetryAfter.Seconds() != 10 || len(status.Causes) != 1 {
		t.Fatalf("the eviction: %+v", err)
	}
	if !strings.Contains(err.Error(), "shop/web-0") || !strings.Contains(err.Error(), "disruption budget web") {
		t.Errorf("the error does not name pod and budget: %v", err)
	}
	if _, err = client.Node(t.Context(), "edge-1"); err == nil || !strings.Contains(err.Error(), "502 Bad Gateway: <html>proxy") {
		t.Errorf("a proxy's answer: %v", err)
	}
}
