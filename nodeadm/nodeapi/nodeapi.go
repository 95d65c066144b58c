// Package nodeapi asks the Kubernetes API as the node itself, with kubelet's
// kubeconfig: it reads this host's Node, its pods and its certificate requests,
// cordons and labels the Node, and evicts pods. It is linked by hybrid-agent-op
// only: the kubeconfig's credentials come from a program that client-go starts.
// What to change, and when, is its callers' affair.
//
// It speaks plain REST with the few fields that are of use here: client-go's typed
// clients would double the size of the program that links them (19 to 39 MiB).
package nodeapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// requestTimeout bounds one request with its authentication.
const requestTimeout = 10 * time.Second

// Client asks one API server. It may be used by several goroutines at once.
type Client struct {
	server string
	http   *http.Client
}

// Open reads a kubeconfig; it asks the server nothing yet. Errors:
// ErrNoKubeconfig, or what is wrong with the file.
func Open(kubeconfig string) (*Client, error) {
	if _, err := os.Stat(kubeconfig); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot use kubelet's kubeconfig %s: %w", kubeconfig, ErrNoKubeconfig)
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("cannot use kubelet's kubeconfig %s: %w", kubeconfig, err)
	}
	config.UserAgent = "hybrid-agent-op"
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("cannot use kubelet's kubeconfig %s: %w", kubeconfig, err)
	}
	return New(config.Host, client), nil
}

// New returns a client of the server at that address, for callers that have their
// own way there and their own credentials.
func New(server string, client *http.Client) *Client {
	return &Client{server: strings.TrimSuffix(server, "/"), http: client}
}

// Close ends connections that are kept open for the next request.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// ServerVersion is the API server's version, for example v1.31.5-eks-1234567:
// kubelet may be at most three minor versions older and never newer.
func (c *Client) ServerVersion(ctx context.Context) (string, error) {
	body, err := c.get(ctx, "/version", nil)
	if err != nil {
		return "", fmt.Errorf("cannot read the API server's version: %w", err)
	}
	var version struct {
		GitVersion string `json:"gitVersion"`
	}
	if err := json.Unmarshal(body, &version); err != nil || version.GitVersion == "" {
		return "", fmt.Errorf("cannot read the API server's version: %s answered %q, which is none", c.server, shorten(body))
	}
	return version.GitVersion, nil
}

// Read opens the kubeconfig, gets the Node and closes again. Errors are those of
// Open and Client.Node.
func Read(ctx context.Context, kubeconfig, name string) (Node, error) {
	client, err := Open(kubeconfig)
	if err != nil {
		return Node{}, fmt.Errorf("cannot read Node %s: %w", name, err)
	}
	defer client.Close()
	return client.Node(ctx, name)
}

// Server is the address of the API server in a kubeconfig, a URL. Errors:
// ErrNoKubeconfig, or what is wrong with the file.
func Server(kubeconfig string) (string, error) {
	client, err := Open(kubeconfig)
	if err != nil {
		return "", err
	}
	defer client.Close()
	return client.server, nil
}
