package kubelet

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

type object = map[string]any

// status is what the Node reports of itself.
func (k *Kubelet) status() object {
	now := time.Now().UTC().Format(time.RFC3339)
	pods := fmt.Sprint(k.maxPods)
	ready := object{
		"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "the kubelet stand-in posts ready status",
		"lastHeartbeatTime": now, "lastTransitionTime": now,
	}
	if k.settings.NotReady {
		ready["status"], ready["reason"], ready["message"] = "False", "KubeletNotReady", "the lab asked this kubelet to be not ready"
	}
	resources := object{"cpu": fmt.Sprint(runtime.NumCPU()), "memory": "1Gi", "pods": pods}
	return object{
		"addresses": []object{{"type": "InternalIP", "address": k.ip.String()}, {"type": "Hostname", "address": k.flags.NodeName}},
		"capacity":  resources, "allocatable": resources,
		"nodeInfo": object{
			"kubeletVersion": k.version, "architecture": runtime.GOARCH, "operatingSystem": "linux", "osImage": "lab host (stand-in)",
			"containerRuntimeVersion": "none://stand-in", "machineID": "", "systemUUID": "", "bootID": "", "kernelVersion": "", "kubeProxyVersion": "",
		},
		"conditions": []object{ready},
	}
}

// registerNode creates the Node with labels and taints; an existing Node keeps its own.
func (k *Kubelet) registerNode(ctx context.Context) error {
	labels := map[string]string{
		"kubernetes.io/hostname": k.flags.NodeName, "kubernetes.io/arch": runtime.GOARCH, "kubernetes.io/os": "linux",
	}
	for key, value := range k.flags.Labels {
		labels[key] = value
	}
	spec := object{}
	if len(k.flags.Taints) > 0 {
		spec["taints"] = k.flags.Taints
	}
	node := object{
		"kind": "Node", "apiVersion": "v1", "metadata": object{"name": k.flags.NodeName, "labels": labels}, "spec": spec, "status": k.status(),
	}
	code, body, err := k.call(ctx, k.register, http.MethodPost, "/api/v1/nodes", "application/json", node)
	if err != nil || code == http.StatusCreated || code == http.StatusConflict {
		return err
	}
	return fmt.Errorf("unable to register node %s: %s", k.flags.NodeName, body)
}

const leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"

// heartbeat renews the lease and the status.
func (k *Kubelet) heartbeat(ctx context.Context) error {
	name := k.flags.NodeName
	lease := object{
		"kind": "Lease", "apiVersion": "coordination.k8s.io/v1", "metadata": object{"name": name, "namespace": "kube-node-lease"},
		"spec": object{"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": time.Now().UTC().Format("2006-01-02T15:04:05.000000Z07:00")},
	}
	code, body, err := k.call(ctx, k.client, http.MethodPut, leases+"/"+name, "application/json", lease)
	if err == nil && code == http.StatusNotFound {
		code, body, err = k.call(ctx, k.client, http.MethodPost, leases, "application/json", lease)
	}
	if err != nil {
		return err
	}
	if code >= 300 {
		return fmt.Errorf("cannot renew the lease: %s", body)
	}
	code, body, err = k.call(ctx, k.client, http.MethodPatch, "/api/v1/nodes/"+name+"/status", "application/strategic-merge-patch+json",
		object{"status": k.status()})
	if err != nil {
		return err
	}
	if code == http.StatusNotFound {
		return k.registerNode(ctx)
	}
	if code >= 300 {
		return fmt.Errorf("cannot patch the node's status: %s", body)
	}
	return nil
}

func (k *Kubelet) call(ctx context.Context, c *Client, method, path, contentType string, body any) (int, []byte, error) {
	resp, err := c.Do(ctx, method, path, contentType, body)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, raw, err
}

// requestServingCertificate asks once for a serving certificate and keeps it where kubelet does, whenever it is signed.
func (k *Kubelet) requestServingCertificate(ctx context.Context) {
	if err := k.servingCertificate(ctx); err != nil && ctx.Err() == nil {
		k.say("cannot get a serving certificate: %v", err)
	}
}

const csrs = "/apis/certificates.k8s.io/v1/certificatesigningrequests"

// signed asks for the request's certificate until there is one.
func (k *Kubelet) signed(ctx context.Context, body []byte) ([]byte, error) {
	var csr struct {
		Metadata struct{ Name string }
		Status   struct{ Certificate []byte }
	}
	for {
		if err := json.Unmarshal(body, &csr); err != nil || len(csr.Status.Certificate) > 0 {
			return csr.Status.Certificate, err
		}
		select {
		case <-time.After(k.interval()):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if _, again, err := k.call(ctx, k.register, http.MethodGet, csrs+"/"+csr.Metadata.Name, "", nil); err == nil {
			body = again
		}
	}
}

func (k *Kubelet) servingCertificate(ctx context.Context) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:     pkix.Name{CommonName: "system:node:" + k.flags.NodeName, Organization: []string{"system:nodes"}},
		IPAddresses: []net.IP{k.ip}, DNSNames: []string{k.flags.NodeName},
	}, key)
	if err != nil {
		return err
	}
	csr := object{
		"kind": "CertificateSigningRequest", "apiVersion": "certificates.k8s.io/v1", "metadata": object{"generateName": "csr-"},
		"spec": object{
			"request":    base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})),
			"signerName": "kubernetes.io/kubelet-serving", "usages": []string{"digital signature", "server auth"},
		},
	}
	code, body, err := k.call(ctx, k.register, http.MethodPost, csrs, "application/json", csr)
	if err != nil || code != http.StatusCreated {
		return fmt.Errorf("certificate request: %d %w", code, err)
	}
	cert, err := k.signed(ctx, body)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	bundle := append([]byte{}, cert...)
	bundle = append(bundle, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})...)
	if err := os.MkdirAll(k.flags.CertDir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(k.flags.CertDir, "kubelet-server-current.pem"), bundle, 0o600)
}
