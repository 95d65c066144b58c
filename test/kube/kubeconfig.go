package kube

import (
	"encoding/json"
	"fmt"
	"os"
)

// writeKubeconfig writes one of the cluster for a user, given as YAML.
func (c *Cluster) writeKubeconfig(name, user string) (string, error) {
	path := c.path(name + ".kubeconfig")
	content := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: kube, cluster: {server: %q, certificate-authority: %q}}]
contexts: [{name: kube, context: {cluster: kube, user: user}}]
current-context: kube
users: [{name: user, user: {%s}}]
`, c.Server, c.pki.file("ca", "crt"), user)
	return path, os.WriteFile(path, []byte(content), 0o600)
}

// certificateUser is a user who has its certificate in files.
func (c *Cluster) certificateUser(name string) string {
	return fmt.Sprintf("client-certificate: %q, client-key: %q", c.pki.file(name, "crt"), c.pki.file(name, "key"))
}

// credentialsProgram prints a certificate and its key as client-go wants them of
// an exec plugin (client.authentication.k8s.io/v1, ExecCredential).
func (c *Cluster) credentialsProgram(name string) []byte {
	read := func(kind string) string {
		content, err := os.ReadFile(c.pki.file(name, kind))
		if err != nil {
			return ""
		}
		return string(content)
	}
	credential, err := json.Marshal(map[string]any{
		"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
		"status": map[string]any{"clientCertificateData": read("crt"), "clientKeyData": read("key")},
	})
	if err != nil {
		return nil
	}
	// JSON has no single quotes in a PEM block.
	return []byte("#!/bin/sh\nprintf '%s' '" + string(credential) + "'\n")
}
