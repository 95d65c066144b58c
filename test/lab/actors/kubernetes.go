package actors

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
	"path/filepath"

	"hybridagent/test/lab"
)

// ask makes a request of the stand-in's own door; body and into may be nil.
func (a *AWS) ask(ctx context.Context, method, path string, body, into any) error {
	return call(ctx, a.client, method, "http://"+lab.AWSServices+path, nil, body, into)
}

// call sends JSON and reads JSON.
func call(ctx context.Context, client *http.Client, method, url string, header http.Header, body, into any) error {
	var content io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(raw)
	}
	request, err := http.NewRequestWithContext(ctx, method, url, content)
	if err != nil {
		return err
	}
	for name := range header {
		request.Header.Set(name, header.Get(name))
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("cannot ask the AWS stand-in: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode >= 300 {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 4<<10))
		return fmt.Errorf("the AWS stand-in answers %s %s with %s: %s", method, url, response.Status, text)
	}
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		return fmt.Errorf("cannot read the AWS stand-in's answer to %s: %w", url, err)
	}
	return nil
}

// Pod is a pod of a Deployment, as far as the lab's stories need it.
type Pod struct {
	// Namespace and Name of the pod, and the Node it runs on.
	Namespace, Name, Node string
	// Replacement is the node on which its controller makes the next one, or "*" for any that takes pods; empty: none does.
	Replacement string
}

// SetPods replaces every pod of the cluster.
func (a *AWS) SetPods(ctx context.Context, pods ...Pod) error {
	objects := []any{}
	for _, p := range pods {
		annotations := map[string]string{"lab.hybrid/gone-after-ms": "200"}
		if p.Replacement != "" {
			annotations["lab.hybrid/replacement"] = p.Replacement
		}
		objects = append(objects, map[string]any{
			"metadata": map[string]any{
				"namespace": p.Namespace, "name": p.Name, "labels": map[string]string{"app": p.Namespace}, "annotations": annotations,
				"ownerReferences": []any{map[string]any{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": p.Namespace, "controller": true}},
			},
			"spec":   map[string]any{"nodeName": p.Node},
			"status": map[string]any{"phase": "Running"},
		})
	}
	return a.ask(ctx, http.MethodPost, "/lab/pods", objects, nil)
}

// Pods lists the pods of the cluster.
func (a *AWS) Pods(ctx context.Context) ([]Pod, error) {
	var objects []struct {
		Metadata struct{ Namespace, Name string }
		Spec     struct {
			NodeName string `json:"nodeName"`
		}
	}
	if err := a.ask(ctx, http.MethodGet, "/lab/pods", nil, &objects); err != nil {
		return nil, err
	}
	pods := make([]Pod, 0, len(objects))
	for _, o := range objects {
		pods = append(pods, Pod{Namespace: o.Metadata.Namespace, Name: o.Metadata.Name, Node: o.Spec.NodeName})
	}
	return pods, nil
}

// Forbid makes a PodDisruptionBudget that lets no pod of a namespace be evicted; Allow removes it.
func (a *AWS) Forbid(ctx context.Context, namespace, name string) error {
	return a.setBudget(ctx, namespace, name, "maxUnavailable", 0)
}

// KeepAvailable makes a PodDisruptionBudget that lets pods of a namespace be evicted while more than that many are there; Allow removes it.
func (a *AWS) KeepAvailable(ctx context.Context, namespace, name string, pods int) error {
	return a.setBudget(ctx, namespace, name, "minAvailable", pods)
}

func (a *AWS) setBudget(ctx context.Context, namespace, name, field string, value int) error {
	return a.ask(ctx, http.MethodPost, "/lab/pdbs", []any{map[string]any{
		"metadata": map[string]string{"namespace": namespace, "name": name},
		"spec":     map[string]any{field: value, "selector": map[string]any{"matchLabels": map[string]string{"app": namespace}}},
	}}, nil)
}

// Allow removes every PodDisruptionBudget.
func (a *AWS) Allow(ctx context.Context) error {
	return a.ask(ctx, http.MethodPost, "/lab/pdbs", []any{}, nil)
}

// SetFaults sets what the stand-in does wrong, in its own words; nil: nothing.
func (a *AWS) SetFaults(ctx context.Context, faults map[string]string) error {
	if faults == nil {
		faults = map[string]string{}
	}
	return a.ask(ctx, http.MethodPost, "/lab/faults", faults, nil)
}

// SetClusterVersion changes the cluster's Kubernetes version, for example 1.32.
func (a *AWS) SetClusterVersion(ctx context.Context, version string) error {
	return a.ask(ctx, http.MethodPost, "/lab/cluster", map[string]string{"version": version}, nil)
}

// PatchNode changes a Node as an administrator would; patch is a merge patch.
func (a *AWS) PatchNode(ctx context.Context, name string, patch any) error {
	client, err := a.kubernetes()
	if err != nil {
		return err
	}
	header := http.Header{"Authorization": {"Bearer lab-admin"}, "Content-Type": {"application/merge-patch+json"}}
	return call(ctx, client, http.MethodPatch, "https://"+lab.EKSEndpoint+"/api/v1/nodes/"+name, header, patch, nil)
}

// kubernetes is a client that trusts the cluster's CA.
func (a *AWS) kubernetes() (*http.Client, error) {
	files, err := filepath.Glob(filepath.Join(a.pki, "*"))
	if err != nil {
		return nil, err
	}
	pool, found := x509.NewCertPool(), false
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		found = pool.AppendCertsFromPEM(content) || found
	}
	if !found {
		return nil, errors.New("cannot find the CA of the AWS stand-in's cluster")
	}
	transport := clientIn(a.host).Transport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return &http.Client{Transport: transport, Timeout: a.client.Timeout}, nil
}
