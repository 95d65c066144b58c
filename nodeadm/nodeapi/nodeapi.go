// Package nodeapi reads this host's Node from the Kubernetes API as the node
// itself, with kubelet's kubeconfig. It is linked by hybrid-agent-op only: the
// kubeconfig's credentials come from a program that client-go starts. It
// changes nothing in the cluster.
package nodeapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// requestTimeout bounds one request with its authentication.
const requestTimeout = 10 * time.Second

// maxNode bounds the answer; a Node with many images has some 100 KiB.
const maxNode = 4 << 20

// Node is what the Kubernetes API says of this host.
type Node struct {
	// Name of the Node.
	Name string
	// Ready is the status of the Ready condition.
	Ready bool
	// Reason and Message are those of the Ready condition.
	Reason, Message string
	// KubeletVersion is kubelet's version, for example v1.31.5-eks-1234567.
	KubeletVersion string
	// InternalIP is the Node's internal address; empty: none yet.
	InternalIP string
}

// Errors that a caller tells apart.
var (
	// ErrNoKubeconfig says that the host was never initialised.
	ErrNoKubeconfig = errors.New("there is no kubeconfig: this host was never initialised as a node")
	// ErrNoNode says that kubelet has not registered the Node yet.
	ErrNoNode = errors.New("the Kubernetes API knows no Node of this name")
)

// Read gets the Node. Errors: ErrNoKubeconfig, ErrNoNode, and whatever keeps
// the request from being answered, with what the server said.
func Read(ctx context.Context, kubeconfig, name string) (Node, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if _, err := os.Stat(kubeconfig); errors.Is(err, fs.ErrNotExist) {
		return Node{}, fmt.Errorf("cannot read Node %s: %w", name, ErrNoKubeconfig)
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return Node{}, fmt.Errorf("cannot use kubelet's kubeconfig %s: %w", kubeconfig, err)
	}
	config.UserAgent = "hybrid-agent-op"
	body, err := get(ctx, config, "/api/v1/nodes/"+url.PathEscape(name))
	if err != nil {
		return Node{}, fmt.Errorf("cannot read Node %s: %w", name, err)
	}
	return decode(body)
}

// get asks for one path with the kubeconfig's credentials.
func get(ctx context.Context, config *rest.Config, path string) ([]byte, error) {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("cannot make an HTTP client: %w", err)
	}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(config.Host, "/")+path, nil)
	if err != nil {
		return nil, fmt.Errorf("cannot use the API server's address %q: %w", config.Host, err)
	}
	request.Header.Set("Accept", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxNode))
	if err != nil {
		return nil, fmt.Errorf("cannot read the answer: %w", err)
	}
	switch {
	case response.StatusCode == http.StatusNotFound:
		return nil, ErrNoNode
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the API server answered %s: %s", response.Status, statusMessage(body))
	}
	return body, nil
}

// statusMessage is the message of a Kubernetes Status object, or the start of
// whatever else was answered.
func statusMessage(body []byte) string {
	var status struct {
		Message string `json:"message"`
	}
	if err := json.Unmarshal(body, &status); err == nil && status.Message != "" {
		return status.Message
	}
	return strings.ToValidUTF8(string(body[:min(len(body), 200)]), "")
}

// decode reads the few fields of a Node that are of use here.
func decode(body []byte) (Node, error) {
	var object struct {
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
		Status struct {
			Conditions []struct {
				Type    string `json:"type"`
				Status  string `json:"status"`
				Reason  string `json:"reason"`
				Message string `json:"message"`
			} `json:"conditions"`
			Addresses []struct {
				Type    string `json:"type"`
				Address string `json:"address"`
			} `json:"addresses"`
			NodeInfo struct {
				KubeletVersion string `json:"kubeletVersion"`
			} `json:"nodeInfo"`
		} `json:"status"`
	}
	if err := json.Unmarshal(body, &object); err != nil {
		return Node{}, fmt.Errorf("cannot parse the Node: %w", err)
	}
	node := Node{Name: object.Metadata.Name, KubeletVersion: object.Status.NodeInfo.KubeletVersion}
	for _, address := range object.Status.Addresses {
		if address.Type == "InternalIP" && node.InternalIP == "" {
			node.InternalIP = address.Address
		}
	}
	for _, condition := range object.Status.Conditions {
		if condition.Type == "Ready" {
			node.Ready = condition.Status == "True"
			node.Reason, node.Message = condition.Reason, condition.Message
		}
	}
	return node, nil
}
