package nodeapi_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"hybridagent/nodeadm/nodeapi"
)

func TestPods(t *testing.T) {
	t.Parallel()
	d, client := newDouble(t, nil)
	d.lists["/api/v1/pods"] = []string{
		`{"metadata":{"namespace":"kube-system","name":"cilium","uid":"1","ownerReferences":[{"apiVersion":"v1","kind":"Node"},{"apiVersion":"apps/v1","kind":"DaemonSet","controller":true}]},"spec":{"volumes":[{"hostPath":{}}]},"status":{"phase":"Running"}}`,
		`{"metadata":{"namespace":"shop","name":"db","uid":"2","deletionTimestamp":"2026-01-02T03:04:05Z"},"spec":{"volumes":[{"emptyDir":{}},{"configMap":{}}]},"status":{"phase":"Succeeded"}},
		 {"metadata":{"namespace":"kube-system","name":"etcd","uid":"3","annotations":{"kubernetes.io/config.mirror":"x"}}}`,
	}
	want := []nodeapi.Pod{
		{Namespace: "kube-system", Name: "cilium", UID: "1", Phase: "Running", Controller: "DaemonSet", ControllerAPI: "apps/v1"},
		{Namespace: "shop", Name: "db", UID: "2", Phase: "Succeeded", EmptyDir: true, DeletionTimestamp: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
		{Namespace: "kube-system", Name: "etcd", UID: "3", Mirror: true},
	}
	for _, gone := range []int{0, 1, 2} {
		d.gone = gone
		pods, err := client.Pods(t.Context(), "edge-1")
		if err != nil || fmt.Sprint(pods) != fmt.Sprint(want) || len(pods) != 3 || pods[0] != want[0] || pods[1] != want[1] || pods[2] != want[2] {
			t.Errorf("with the page forgotten %d times: %+v, %v", gone, pods, err)
		}
	}
	d.gone = 100
	if _, err := client.Pods(t.Context(), "edge-1"); err == nil {
		t.Error("a list that never ends well is taken")
	}
}

// request is a PEM certificate request, in base64 as the API carries it.
func request(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"edge-1"}, IPAddresses: []net.IP{net.IPv4(10, 200, 0, 11)}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

func TestServingCSR(t *testing.T) {
	t.Parallel()
	csr := func(name, made, user, signer, status string) string {
		return fmt.Sprintf(`{"metadata":{"name":%q,"creationTimestamp":%q},"spec":{"request":%q,"signerName":%q,"username":%q},"status":%s}`,
			name, made, request(t), signer, user, status)
	}
	const (
		old, recent, decided = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-02T00:05:00Z"
		self, serving        = "system:node:edge-1", "kubernetes.io/kubelet-serving"
	)
	said := func(kind, reason, message string) string {
		return fmt.Sprintf(`{"conditions":[{"type":%q,"status":"True","reason":%q,"message":%q,"lastTransitionTime":%q}]}`, kind, reason, message, decided)
	}
	issued := `{"certificate":"Y2VydA==","conditions":[{"type":"Approved","status":"True","lastTransitionTime":"` + decided + `"}]}`
	for _, c := range []struct {
		name  string
		items []string
		state nodeapi.CSRState
		since string
		cause []string
	}{
		{"none", nil, nodeapi.CSRNone, "", nil},
		{"another node's", []string{csr("a", recent, "system:node:edge-2", serving, `{}`)}, nodeapi.CSRNone, "", nil},
		{"the client certificate's", []string{csr("a", recent, self, "kubernetes.io/kube-apiserver-client-kubelet", `{}`)}, nodeapi.CSRNone, "", nil},
		{"pending", []string{csr("csr-x", recent, self, serving, `{}`)}, nodeapi.CSRPending, recent,
			[]string{"nobody has approved request csr-x for edge-1, 10.200.0.11", "kubectl certificate approve csr-x"}},
		{"not signed", []string{csr("csr-x", recent, self, serving, said("Approved", "", ""))}, nodeapi.CSRPending, decided, []string{"has not signed"}},
		{"denied", []string{csr("csr-x", recent, self, serving, said("Denied", "Foreign", "10.200.0.11 is not the node's"))}, nodeapi.CSRDenied, decided,
			[]string{"denied request csr-x", "Foreign: 10.200.0.11 is not the node's", "restart kubelet"}},
		{"denied without a word", []string{csr("csr-x", recent, self, serving, said("Denied", "", ""))}, nodeapi.CSRDenied, decided, []string{"without a reason"}},
		{"failed", []string{csr("csr-x", recent, self, serving, said("Failed", "SignerValidationFailure", "no"))}, nodeapi.CSRFailed, decided, []string{"SignerValidationFailure: no"}},
		{"issued", []string{csr("a", recent, self, serving, issued)}, nodeapi.CSRIssued, decided, nil},
		{"the newest counts", []string{csr("new", recent, self, serving, `{}`), csr("old", old, self, serving, issued)}, nodeapi.CSRPending, recent, []string{"request new"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d, client := newDouble(t, nil)
			d.lists["/apis/certificates.k8s.io/v1/certificatesigningrequests"] = []string{strings.Join(c.items, ",")}
			got, err := client.ServingCSR(t.Context(), "edge-1")
			if err != nil || got.State != c.state {
				t.Fatalf("ServingCSR = %+v, %v, want %s", got, err, c.state)
			}
			if c.since != "" && got.Since.Format(time.RFC3339) != c.since {
				t.Errorf("since %v, want %v", got.Since, c.since)
			}
			if (got.Cause == "") != (len(c.cause) == 0) {
				t.Errorf("the cause is %q", got.Cause)
			}
			for _, part := range c.cause {
				if !strings.Contains(got.Cause, part) {
					t.Errorf("the cause %q does not say %q", got.Cause, part)
				}
			}
		})
	}
}
