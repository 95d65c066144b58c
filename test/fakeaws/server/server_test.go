package server_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hybridagent/test/fakeaws/server"
)

type api struct {
	t      *testing.T
	s      *server.Server
	client *http.Client
	token  string
}

func newAPI(t *testing.T, opt server.Options) *api {
	t.Helper()
	s, err := server.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(s.CA()) {
		t.Fatal("the CA is no certificate")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(transport.CloseIdleConnections)
	return &api{t: t, s: s, client: &http.Client{Transport: transport, Timeout: 5 * time.Second}, token: server.LabAdminToken}
}

// as returns the API with the credentials that the authenticator stand-in would make for a node.
func (a *api) as(node string) *api {
	b := *a
	url := "https://sts/?X-Lab-Session=" + node
	b.token = "k8s-aws-v1." + base64.RawURLEncoding.EncodeToString([]byte(url))
	return &b
}

func (a *api) kube(method, path, contentType, body string) (int, map[string]any) {
	a.t.Helper()
	req, err := http.NewRequest(method, a.s.Endpoint()+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := a.client.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	var obj map[string]any
	json.Unmarshal(raw, &obj) // healthz answers text
	return resp.StatusCode, obj
}

func (a *api) wantCode(want int, method, path, contentType, body string) map[string]any {
	a.t.Helper()
	code, obj := a.kube(method, path, contentType, body)
	if code != want {
		a.t.Errorf("%s %s: %d, want %d: %v", method, path, code, want, obj)
	}
	return obj
}

const (
	asJSON    = "application/json"
	merge     = "application/merge-patch+json"
	strategic = "application/strategic-merge-patch+json"
)

func nodeJSON(name, ip string) string {
	return fmt.Sprintf(`{"metadata":{"name":%q},"status":{"addresses":[{"type":"InternalIP","address":%q}],"conditions":[{"type":"Ready","status":"True"}]}}`, name, ip)
}

func TestWithoutATokenOnlyProbesAnswer(t *testing.T) {
	t.Parallel()
	a := newAPI(t, server.Options{})
	a.token = ""
	for _, path := range []string{"/healthz", "/livez", "/readyz", "/version"} {
		a.wantCode(200, "GET", path, "", "")
	}
	a.wantCode(401, "GET", "/api/v1/nodes", "", "")
	a.token = "wrong"
	a.wantCode(401, "GET", "/api/v1/nodes", "", "")
}

func TestANodeReachesItsOwnObjectsOnly(t *testing.T) {
	t.Parallel()
	a := newAPI(t, server.Options{}).as("edge-1")
	a.wantCode(201, "POST", "/api/v1/nodes", asJSON, nodeJSON("edge-1", "127.0.0.1"))
	a.wantCode(409, "POST", "/api/v1/nodes", asJSON, nodeJSON("edge-1", "127.0.0.1"))
	a.wantCode(403, "POST", "/api/v1/nodes", asJSON, nodeJSON("edge-2", "127.0.0.1"))
	a.wantCode(403, "GET", "/api/v1/nodes/edge-2", "", "")
	a.wantCode(403, "GET", "/api/v1/pods", "", "")
	a.wantCode(200, "GET", "/api/v1/pods?fieldSelector=spec.nodeName=edge-1", "", "")
	a.wantCode(403, "DELETE", "/api/v1/nodes/edge-1", "", "")
	a.wantCode(200, "PATCH", "/api/v1/nodes/edge-1", merge, `{"spec":{"unschedulable":true}}`)
	a.wantCode(403, "PATCH", "/api/v1/nodes/edge-1", merge, `{"spec":{"taints":[]}}`)
	a.wantCode(415, "PATCH", "/api/v1/nodes/edge-1", "application/json-patch+json", `[]`)
	if nodes := a.s.Nodes(); len(nodes) != 1 || !nodes[0].Unschedulable {
		t.Errorf("nodes %+v, want edge-1 cordoned", nodes)
	}
}

func TestReadyNeedsHeartbeatsFromTheInternalIP(t *testing.T) {
	t.Parallel()
	a := newAPI(t, server.Options{Grace: time.Second})
	for name, ip := range map[string]string{"right": "127.0.0.1", "wrong": "10.200.0.11"} {
		a.wantCode(201, "POST", "/api/v1/nodes", asJSON, nodeJSON(name, ip))
		a.wantCode(200, "PATCH", "/api/v1/nodes/"+name+"/status", strategic, `{"status":{"conditions":[{"type":"Ready","status":"True"}]}}`)
	}
	nodes := a.s.Nodes()
	if !nodes[0].Ready || nodes[0].Name != "right" {
		t.Errorf("%+v, want ready", nodes[0])
	}
	if nodes[1].Ready || nodes[1].ReadyReason != "HeartbeatFromOtherAddress" || nodes[1].LastPeer != "127.0.0.1" {
		t.Errorf("%+v, want not ready for its address", nodes[1])
	}
	for deadline := time.Now().Add(5 * time.Second); a.s.Nodes()[0].Ready; <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the node stays ready without heartbeats")
		}
	}
}

func TestStrategicPatchMergesConditionsByType(t *testing.T) {
	t.Parallel()
	a := newAPI(t, server.Options{})
	a.wantCode(201, "POST", "/api/v1/nodes", asJSON, nodeJSON("n", "127.0.0.1"))
	node := a.wantCode(200, "PATCH", "/api/v1/nodes/n/status", strategic, `{"status":{"conditions":[{"type":"DiskPressure","status":"False"}]}}`)
	if conditions := node["status"].(map[string]any)["conditions"].([]any); len(conditions) != 2 {
		t.Errorf("conditions %v, want Ready and DiskPressure", conditions)
	}
}

func TestPodsCanBeListedAndEvicted(t *testing.T) {
	t.Parallel()
	a := newAPI(t, server.Options{})
	body := `[{"metadata":{"namespace":"a","name":"p"},"spec":{"nodeName":"n"}},{"metadata":{"namespace":"a","name":"q"},"spec":{"nodeName":"m"}}]`
	resp, err := a.client.Post(a.s.AWSURL()+"/lab/pods", asJSON, strings.NewReader(body))
	if err != nil || resp.StatusCode != http.StatusNoContent {
		t.Fatalf("/lab/pods: %v %v", resp, err)
	}
	resp.Body.Close()
	list := a.wantCode(200, "GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn", "", "")
	if items := list["items"].([]any); len(items) != 1 {
		t.Errorf("pods %v, want one", items)
	}
	a.wantCode(201, "POST", "/api/v1/namespaces/a/pods/p/eviction", asJSON, `{}`)
	a.wantCode(404, "GET", "/api/v1/namespaces/a/pods/p", "", "")
}

func TestDescribeCluster(t *testing.T) {
	t.Parallel()
	a := newAPI(t, server.Options{RemoteNodeCIDRs: []string{"10.200.0.0/16"}, Endpoint: "https://10.100.0.10"})
	get := func(path string) (int, string) {
		resp, err := a.client.Get(a.s.AWSURL() + path)
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		raw, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(raw)
	}
	if code, body := get("/clusters/lab"); code != 200 || !strings.Contains(body, "10.200.0.0/16") || !strings.Contains(body, `"https://10.100.0.10"`) {
		t.Errorf("DescribeCluster: %d %s", code, body)
	}
	if code, body := get("/clusters/other"); code != 404 || !strings.Contains(body, "ResourceNotFoundException") {
		t.Errorf("DescribeCluster of another name: %d %s", code, body)
	}
	if err := a.s.SetFaults(server.Faults{DescribeCluster: "down"}); err != nil {
		t.Fatal(err)
	}
	if code, body := get("/clusters/lab"); code != 0 || !strings.Contains(body, "EOF") {
		t.Errorf("DescribeCluster while down: %d %s", code, body)
	}
}

func TestUnknownFaultIsRefused(t *testing.T) {
	t.Parallel()
	a := newAPI(t, server.Options{})
	for _, body := range []string{`{"ecr":"perhaps"}`, `{"weather":"bad"}`} {
		resp, err := a.client.Post(a.s.AWSURL()+"/lab/faults", asJSON, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("fault %s: %s, want 400", body, resp.Status)
		}
	}
}

func TestHangingRequestGoesOnWhenTheFaultEnds(t *testing.T) {
	t.Parallel()
	a := newAPI(t, server.Options{})
	if err := a.s.SetFaults(server.Faults{KubeAPI: "hang"}); err != nil {
		t.Fatal(err)
	}
	done := make(chan int, 1)
	go func() {
		resp, err := a.client.Get(a.s.Endpoint() + "/healthz")
		if err != nil {
			done <- 0
			return
		}
		resp.Body.Close()
		done <- resp.StatusCode
	}()
	for deadline := time.Now().Add(5 * time.Second); len(a.s.Calls()) == 0; <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the request did not arrive")
		}
	}
	if err := a.s.SetFaults(server.Faults{}); err != nil {
		t.Fatal(err)
	}
	if code := <-done; code != 200 {
		t.Errorf("the request ended with %d, want 200", code)
	}
}

func TestTheCAIsKeptBetweenStarts(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "pki")
	first := newAPI(t, server.Options{PKIDir: dir})
	second := newAPI(t, server.Options{PKIDir: dir})
	if !bytes.Equal(first.s.CA(), second.s.CA()) {
		t.Error("the second start has another CA")
	}
	second.wantCode(200, "GET", "/healthz", "", "")
	if err := os.WriteFile(filepath.Join(dir, "ca.key"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := server.New(server.Options{PKIDir: dir}); err == nil {
		s.Close()
		t.Error("an empty CA key was accepted")
	}
}
