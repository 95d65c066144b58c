package nodeapi_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"hybridagent/nodeadm/nodeapi"
)

// kubeconfig names a server and a program for credentials, as nodeadm's does.
func kubeconfig(t *testing.T, server string) string {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "authenticator")
	script := `#!/bin/sh
echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1","status":{"token":"token-of-'"$1"'"}}'
`
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	content := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: k, cluster: {server: %q, insecure-skip-tls-verify: true}}]
contexts: [{name: c, context: {cluster: k, user: kubelet}}]
current-context: c
users: [{name: kubelet, user: {exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: %q, args: [edge], interactiveMode: Never}}}]
`, server, program)
	path := filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRead(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer token-of-edge":
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = fmt.Fprint(w, `{"kind":"Status","message":"Unauthorized"}`)
		case r.URL.Path == "/api/v1/nodes/edge-1":
			_, _ = fmt.Fprint(w, `{"metadata":{"name":"edge-1"},"status":{"conditions":[{"type":"Ready","status":"False","reason":"KubeletNotReady","message":"no CNI"}],
				"addresses":[{"type":"Hostname","address":"edge-1"},{"type":"InternalIP","address":"10.200.0.11"}],"nodeInfo":{"kubeletVersion":"v1.31.5"}}}`)
		case r.URL.Path == "/api/v1/nodes/forbidden":
			w.WriteHeader(http.StatusForbidden)
			_, _ = fmt.Fprint(w, `{"kind":"Status","message":"nodes \"forbidden\" is forbidden"}`)
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	path := kubeconfig(t, server.URL)
	node, err := nodeapi.Read(t.Context(), path, "edge-1")
	want := nodeapi.Node{Name: "edge-1", Reason: "KubeletNotReady", Message: "no CNI", KubeletVersion: "v1.31.5", InternalIP: "10.200.0.11"}
	if err != nil || !reflect.DeepEqual(node, want) {
		t.Errorf("Read = %+v, %v, want %+v", node, err, want)
	}
	if _, err := nodeapi.Read(t.Context(), path, "unknown"); !errors.Is(err, nodeapi.ErrNoNode) {
		t.Errorf("an unknown node: %v", err)
	}
	if _, err := nodeapi.Read(t.Context(), path, "forbidden"); err == nil || !strings.Contains(err.Error(), "is forbidden") {
		t.Errorf("a forbidden node: %v", err)
	}
	if _, err := nodeapi.Read(t.Context(), path+"-missing", "edge-1"); !errors.Is(err, nodeapi.ErrNoKubeconfig) {
		t.Errorf("no kubeconfig: %v", err)
	}
	server.Close()
	if _, err := nodeapi.Read(t.Context(), path, "edge-1"); err == nil {
		t.Error("a server that is gone answers")
	}
}
