package kubelet

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/goccy/go-yaml"
)

// kubeconfig is the part of a kubeconfig that nodeadm writes.
type kubeconfig struct {
	Clusters []struct {
		Cluster struct {
			CA     string `yaml:"certificate-authority"`
			Server string `yaml:"server"`
		} `yaml:"cluster"`
	} `yaml:"clusters"`
	Users []struct {
		User struct {
			Exec struct {
				Command string   `yaml:"command"`
				Args    []string `yaml:"args"`
				Env     []struct {
					Name  string `yaml:"name"`
					Value string `yaml:"value"`
				} `yaml:"env"`
			} `yaml:"exec"`
		} `yaml:"user"`
	} `yaml:"users"`
}

// Client talks to the Kubernetes API with a kubeconfig whose user has an exec credential plugin.
type Client struct {
	server, agent string
	http          *http.Client
	command       []string
	env           []string

	mu    sync.Mutex
	token string
}

// NewClient reads the kubeconfig at path; root is put before the paths inside it ("" on a real host). The environment is given
// to the credential plugin; agent is the User-Agent.
func NewClient(root, path string, env []string, agent string) (*Client, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var kc kubeconfig
	if err := yaml.Unmarshal(raw, &kc); err != nil {
		return nil, fmt.Errorf("cannot read kubeconfig %s: %w", path, err)
	}
	if len(kc.Clusters) != 1 || len(kc.Users) != 1 {
		return nil, fmt.Errorf("cannot use kubeconfig %s: it must hold one cluster and one user", path)
	}
	ca, err := os.ReadFile(filepath.Join(root, kc.Clusters[0].Cluster.CA))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("cannot use the cluster CA %s: no certificate in it", kc.Clusters[0].Cluster.CA)
	}
	plugin := kc.Users[0].User.Exec
	c := &Client{server: kc.Clusters[0].Cluster.Server, agent: agent, env: append([]string{}, env...)}
	c.command = append([]string{filepath.Join(root, plugin.Command)}, plugin.Args...)
	for _, e := range plugin.Env {
		c.env = append(c.env, e.Name+"="+e.Value)
	}
	c.http = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	return c, nil
}

// BindTo makes connections start from this address and gives every request a time limit.
func (c *Client) BindTo(ip net.IP, timeout time.Duration) {
	t := c.http.Transport.(*http.Transport)
	t.DialContext = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: ip}, Timeout: timeout}).DialContext
	c.http.Timeout = timeout
}

// Forget drops open connections, so that the next request makes a new one.
func (c *Client) Forget() { c.http.CloseIdleConnections() }

// Do sends one request with the plugin's token. A 401 drops the token: the next request asks the plugin anew.
func (c *Client) Do(ctx context.Context, method, path, contentType string, body any) (*http.Response, error) {
	token, err := c.bearer(ctx)
	if err != nil {
		return nil, err
	}
	var payload io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		payload = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.server+path, payload)
	if err != nil {
		return nil, err
	}
	if token != certificateOnly {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	req.Header.Set("User-Agent", c.agent)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.http.Do(req)
	if err == nil && resp.StatusCode == http.StatusUnauthorized {
		c.mu.Lock()
		c.token = ""
		c.mu.Unlock()
	}
	return resp, err
}

func (c *Client) bearer(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token != "" {
		return c.token, nil
	}
	cmd := exec.CommandContext(ctx, c.command[0], c.command[1:]...)
	cmd.Env = c.env
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("getting credentials: exec: executable %s failed: %w", c.command[0], err)
	}
	var cred struct {
		Status struct{ Token, ClientCertificateData, ClientKeyData string }
	}
	if err := json.Unmarshal(out, &cred); err != nil {
		return "", fmt.Errorf("getting credentials: exec: %s printed no ExecCredential: %w", c.command[0], err)
	}
	switch st := cred.Status; {
	case st.Token != "":
		c.token = st.Token
	case st.ClientCertificateData != "":
		pair, err := tls.X509KeyPair([]byte(st.ClientCertificateData), []byte(st.ClientKeyData))
		if err != nil {
			return "", fmt.Errorf("getting credentials: exec: %s: %w", c.command[0], err)
		}
		c.http.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{pair}
		c.token = certificateOnly
	default:
		return "", fmt.Errorf("getting credentials: exec: %s printed an ExecCredential without token and certificate", c.command[0])
	}
	return c.token, nil
}

// certificateOnly stands for a token where the plugin gave a client certificate.
const certificateOnly = "client certificate"
