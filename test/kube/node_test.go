//go:build kube

package kube_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"reflect"
	"strings"
	"time"

	"hybridagent/nodeadm"
	"hybridagent/nodeadm/nodeapi"
	"hybridagent/test/kube"
)

// cordoned checks who holds the node.
func (s *site) cordoned(unschedulable bool, by string) {
	s.Helper()
	node, err := s.api.Node(s.Context(), s.node)
	if err != nil || node.Unschedulable != unschedulable || node.CordonedBy != by {
		s.Errorf("unschedulable %v by %q, %v, want %v by %q", node.Unschedulable, node.CordonedBy, err, unschedulable, by)
	}
}

func cordons(s *site) {
	ctx := s.Context()
	change := func(want bool, got bool, err error) {
		s.Helper()
		if err != nil || got != want {
			s.Errorf("answered %v, %v, want %v", got, err, want)
		}
	}
	already, err := s.api.Cordon(ctx, s.node, "op1")
	change(false, already, err)
	s.cordoned(true, "op1")
	already, err = s.api.Cordon(ctx, s.node, "op1")
	change(true, already, err)
	changed, err := s.api.Uncordon(ctx, s.node, "op2")
	change(false, changed, err)
	s.cordoned(true, "op1")
	changed, err = s.api.Uncordon(ctx, s.node, "op1")
	change(true, changed, err)
	s.cordoned(false, "")
	s.must(s.admin.Patch(ctx, s.nodePath(), map[string]any{"spec": map[string]any{"unschedulable": true}}))
	already, err = s.api.Cordon(ctx, s.node, "op1")
	change(true, already, err)
	changed, err = s.api.Uncordon(ctx, s.node, "op1")
	change(false, changed, err)
	s.cordoned(true, "")
}

// labels compares what is sent, and what is known not to be worth sending, with
// what the API server allows.
func labels(s *site) {
	ctx := s.Context()
	set := map[string]string{
		"site": "berlin", "shop.example/floor": "2", "eks.amazonaws.com/compute-type": "hybrid", "node.kubernetes.io/instance-type": "edge",
		"kubelet.kubernetes.io/x": "1", "topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r", "kubernetes.io/hostname": "h",
	}
	refused := []string{"node-restriction.kubernetes.io/x", "node-role.kubernetes.io/edge", "team.k8s.io/x"}
	all := map[string]string{}
	for key, value := range set {
		all[key] = value
	}
	for _, key := range refused {
		all[key] = "1"
		err := func() error {
			_, err := s.self.Patch(ctx, s.nodePath(), map[string]any{"metadata": map[string]any{"labels": map[string]any{key: "1"}}})
			return err
		}()
		if kube.Code(err) != http.StatusForbidden || nodeadm.KubeletMaySet(key) {
			s.Errorf("label %s: %v; known to be settable: %v", key, err, nodeadm.KubeletMaySet(key))
		}
	}
	changed, restricted, err := s.api.SetLabels(ctx, s.node, all, nil)
	if err != nil || !changed || !reflect.DeepEqual(restricted, refused) {
		s.Errorf("SetLabels = %v, %v, %v", changed, restricted, err)
	}
	node, err := s.api.Node(ctx, s.node)
	if err != nil || !reflect.DeepEqual(node.Labels, set) {
		s.Errorf("labels %v, %v", node.Labels, err)
	}
	changed, _, err = s.api.SetLabels(ctx, s.node, nil, []string{"site", "never"})
	if node, _ := s.api.Node(ctx, s.node); err != nil || !changed || node.Labels["site"] != "" || len(node.Labels) != len(set)-1 {
		s.Errorf("removing: %v, %v, %v", changed, err, node.Labels)
	}
	if _, _, err := s.api.SetLabels(ctx, s.node, map[string]string{"site": "not a value"}, nil); err == nil || !strings.Contains(err.Error(), "not a value") {
		s.Errorf("a value that is none: %v", err)
	}
}

func reads(s *site) {
	node, err := s.api.Node(s.Context(), s.node)
	if err != nil || node.Ready || node.Reason != "" || node.UID == "" || node.CreationTimestamp.IsZero() {
		s.Errorf("before kubelet reported: %+v, %v", node, err)
	}
	for _, status := range []string{"False", "True"} {
		s.must(s.self.Patch(s.Context(), s.nodePath()+"/status", map[string]any{"status": map[string]any{
			"conditions": []any{map[string]any{"type": "Ready", "status": status, "reason": "Kubelet" + status, "message": "said", "lastTransitionTime": "2026-01-02T03:04:05Z"}},
			"addresses":  []any{map[string]any{"type": "InternalIP", "address": "10.200.0.11"}},
			"nodeInfo":   map[string]any{"kubeletVersion": "v1.31.5"},
		}}))
		node, err := s.api.Node(s.Context(), s.node)
		if err != nil || node.Ready != (status == "True") || node.Reason != "Kubelet"+status || node.InternalIP != "10.200.0.11" || node.KubeletVersion != "v1.31.5" ||
			!node.ReadySince.Equal(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) {
			s.Errorf("with Ready %s: %+v, %v", status, node, err)
		}
	}
	if version, err := s.api.ServerVersion(s.Context()); err != nil || !strings.HasPrefix(version, "v1.") {
		s.Errorf("version %q, %v", version, err)
	}
	if _, err := nodeapi.Read(s.Context(), s.kubeconfig, s.node); err != nil {
		s.Error(err)
	}
}

// ask makes a request for a serving certificate, as kubelet does.
func (s *site) ask(name string) string {
	s.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.must(key, err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: "system:node:" + s.node, Organization: []string{"system:nodes"}},
		DNSNames: []string{s.node}, IPAddresses: []net.IP{net.IPv4(10, 200, 0, 11)},
	}, key)
	s.must(der, err)
	made := object("certificates.k8s.io/v1", "CertificateSigningRequest", name, nil)
	made["spec"] = map[string]any{
		"request":    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
		"signerName": "kubernetes.io/kubelet-serving", "usages": []any{"digital signature", "server auth"},
	}
	const path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
	s.must(s.self.Create(s.Context(), path, made))
	return path + "/" + name
}

func certificates(s *site) {
	ctx := s.Context()
	wants := func(state nodeapi.CSRState, parts ...string) {
		s.Helper()
		csr, err := s.api.ServingCSR(ctx, s.node)
		if err != nil || csr.State != state {
			s.Fatalf("%+v, %v, want %s", csr, err, state)
		}
		for _, part := range parts {
			if !strings.Contains(csr.Cause, part) {
				s.Errorf("the cause %q does not say %q", csr.Cause, part)
			}
		}
	}
	decide := func(path, kind string) {
		s.Helper()
		s.must(s.admin.Patch(ctx, path+"/approval", map[string]any{"status": map[string]any{"conditions": []any{
			map[string]any{"type": kind, "status": "True", "reason": "Tested", "message": "by hand"}}}}))
	}
	wants(nodeapi.CSRNone)
	first := s.ask(s.space + "-1")
	wants(nodeapi.CSRPending, "nobody has approved", s.node+", 10.200.0.11", "kubectl certificate approve "+s.space+"-1")
	decide(first, "Denied")
	wants(nodeapi.CSRDenied, "Tested: by hand")
	s.must(s.admin.Delete(ctx, first, nil))
	second := s.ask(s.space + "-2")
	decide(second, "Approved")
	wants(nodeapi.CSRPending, "has not signed")
	certificate, err := os.ReadFile(s.cluster.CertificateFile())
	s.must(certificate, err)
	s.must(s.admin.Patch(ctx, second+"/status", map[string]any{"status": map[string]any{"certificate": certificate}}))
	wants(nodeapi.CSRIssued)
}

// rights are the refusals that the code relies on, or would be wrong about.
func rights(s *site) {
	s.make("/api/v1/nodes", object("v1", "Node", "other-"+s.node, nil))
	stranger := object("v1", "Pod", "stranger", nil)
	stranger["spec"] = map[string]any{"nodeName": "other-" + s.node, "containers": []any{map[string]any{"name": "c", "image": "none"}}}
	s.make(s.pods(), stranger)
	other := "/api/v1/nodes/other-" + s.node
	taints := map[string]any{"spec": map[string]any{"taints": []any{map[string]any{"key": "a", "effect": "NoSchedule"}}}}
	today := http.StatusForbidden
	if s.old {
		today = http.StatusOK
	}
	for _, c := range []struct {
		what string
		want int
		ask  func() (map[string]any, error)
	}{
		{"read a DaemonSet", 403, func() (map[string]any, error) {
			return s.self.Get(s.Context(), "/apis/apps/v1/namespaces/"+s.space+"/daemonsets/cni")
		}},
		{"read a ReplicaSet", 403, func() (map[string]any, error) {
			return s.self.Get(s.Context(), "/apis/apps/v1/namespaces/"+s.space+"/replicasets/web")
		}},
		{"list PodDisruptionBudgets", 403, func() (map[string]any, error) {
			return s.self.Get(s.Context(), "/apis/policy/v1/poddisruptionbudgets")
		}},
		{"change taints", 403, func() (map[string]any, error) { return s.self.Patch(s.Context(), s.nodePath(), taints) }},
		{"cordon another node", 403, func() (map[string]any, error) {
			return s.self.Patch(s.Context(), other, map[string]any{"spec": map[string]any{"unschedulable": true}})
		}},
		{"delete its Node", 403, func() (map[string]any, error) { return s.self.Delete(s.Context(), s.nodePath(), nil) }},
		{"delete another node's pod", 403, func() (map[string]any, error) { return s.self.Delete(s.Context(), s.podAt("stranger"), nil) }},
		{"approve a certificate request", 403, func() (map[string]any, error) {
			return s.self.Patch(s.Context(), s.ask(s.space)+"/approval", map[string]any{})
		}},
		{"read another Node", today, func() (map[string]any, error) { return s.self.Get(s.Context(), other) }},
		{"list all pods", today, func() (map[string]any, error) { return s.self.Get(s.Context(), "/api/v1/pods") }},
		{"list its own pods", 200, func() (map[string]any, error) {
			return s.self.Get(s.Context(), "/api/v1/pods?fieldSelector=spec.nodeName="+s.node)
		}},
		{"read its Node", 200, func() (map[string]any, error) { return s.self.Get(s.Context(), s.nodePath()) }},
		{"list certificate requests", 200, func() (map[string]any, error) {
			return s.self.Get(s.Context(), "/apis/certificates.k8s.io/v1/certificatesigningrequests")
		}},
	} {
		if _, err := c.ask(); kube.Code(err) != c.want {
			s.Errorf("a node may %s: %v, want %d", c.what, err, c.want)
		}
	}
	if pods, err := s.api.Pods(s.Context(), s.node); err != nil || len(pods) != 0 {
		s.Errorf("its pods: %v, %v", pods, err)
	}
}

// credentials is what is seen of a program and an identity that are no good.
func credentials(s *site) {
	cause := func(kubeconfig string) nodeapi.Cause {
		s.Helper()
		_, err := nodeapi.Read(s.Context(), kubeconfig, s.node)
		var unreachable *nodeapi.UnreachableError
		if !errors.As(err, &unreachable) {
			s.Fatalf("the error is %v", err)
		}
		return unreachable.Cause
	}
	good, err := os.ReadFile(s.kubeconfig)
	s.must(good, err)
	write := func(name, old, replacement string) string {
		path := s.TempDir() + "/" + name
		s.must(nil, os.WriteFile(path, []byte(strings.Replace(string(good), old, replacement, 1)), 0o600))
		return path
	}
	program := s.TempDir() + "/stranger"
	s.must(nil, os.WriteFile(program, []byte("#!/bin/sh\n"+`echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"nobody"}}'`+"\n"), 0o755))
	known := fmt.Sprintf("%q", s.cluster.CredentialsFile(s.node))
	for _, c := range []struct {
		want nodeapi.Cause
		path string
	}{
		{nodeapi.CauseUnauthorized, write("unauthorized", known, fmt.Sprintf("%q", program))},
		{nodeapi.CauseCredentials, write("credentials", known, `"/bin/false"`)},
		{nodeapi.CauseTLS, write("tls", "certificate-authority:", "tls-server-name: elsewhere.example, certificate-authority:")},
		{nodeapi.CauseRefused, write("refused", s.cluster.Server, "https://127.0.0.1:1")},
	} {
		if got := cause(c.path); got != c.want {
			s.Errorf("the cause is %q, want %q", got, c.want)
		}
	}
}
