package kube

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// User asks the API server for whatever a test says, as one identity.
type User struct {
	server string
	http   *http.Client
}

// Admin may do everything.
func (c *Cluster) Admin() (*User, error) { return c.user("admin") }

// Node is the identity of a node whose NodeKubeconfig was written.
func (c *Cluster) Node(node string) (*User, error) { return c.user("node-" + node) }

func (c *Cluster) user(name string) (*User, error) {
	pair, err := tls.LoadX509KeyPair(c.pki.file(name, "crt"), c.pki.file(name, "key"))
	if err != nil {
		return nil, fmt.Errorf("cannot be %s: %w", name, err)
	}
	ca, err := os.ReadFile(c.pki.file("ca", "crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots}}
	return &User{server: c.Server, http: &http.Client{Transport: transport, Timeout: 30 * time.Second}}, nil
}

// Answer is one that is not of success.
type Answer struct {
	// Code is the HTTP status.
	Code int
	// Body is what was said.
	Body string
}

// Error is the answer in words.
func (a *Answer) Error() string { return fmt.Sprintf("%d: %s", a.Code, a.Body) }

// Code is the HTTP status of an answer: 200 for a nil error, 0 where there was no
// answer.
func Code(err error) int {
	var answer *Answer
	switch {
	case err == nil:
		return http.StatusOK
	case errors.As(err, &answer):
		return answer.Code
	}
	return 0
}

// Get reads an object.
func (u *User) Get(ctx context.Context, path string) (map[string]any, error) {
	return u.do(ctx, http.MethodGet, path, "", nil)
}

// Create makes an object.
func (u *User) Create(ctx context.Context, path string, object any) (map[string]any, error) {
	return u.do(ctx, http.MethodPost, path, "application/json", object)
}

// Put replaces an object.
func (u *User) Put(ctx context.Context, path string, object any) (map[string]any, error) {
	return u.do(ctx, http.MethodPut, path, "application/json", object)
}

// Patch merges into an object (RFC 7396).
func (u *User) Patch(ctx context.Context, path string, patch any) (map[string]any, error) {
	return u.do(ctx, http.MethodPatch, path, "application/merge-patch+json", patch)
}

// Delete removes an object; options may be nil.
func (u *User) Delete(ctx context.Context, path string, options any) (map[string]any, error) {
	return u.do(ctx, http.MethodDelete, path, "application/json", options)
}

func (u *User) do(ctx context.Context, method, path, mediaType string, object any) (map[string]any, error) {
	var body []byte
	if object != nil {
		var err error
		if body, err = json.Marshal(object); err != nil {
			return nil, err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, u.server+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", mediaType)
	response, err := u.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode/100 != 2 {
		return nil, fmt.Errorf("%s %s: %w", method, path, &Answer{Code: response.StatusCode, Body: string(content)})
	}
	var answer map[string]any
	if err := json.Unmarshal(content, &answer); err != nil {
		return nil, nil //nolint:nilerr // /readyz and its like answer plain text
	}
	return answer, nil
}
