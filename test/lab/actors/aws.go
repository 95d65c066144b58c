package actors

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hybridagent/test/lab"
)

// AWS is the running stand-in for AWS and the cluster's Kubernetes API.
type AWS struct {
	Process *lab.Process
	// Manifest is what nodeadm gets instead of the one on the internet.
	Manifest []byte

	client *http.Client
	host   *lab.Host
	pki    string // folder of the cluster's CA
}

// StartAWS prepares the artifacts that nodeadm downloads and starts the stand-in in the VPC.
func StartAWS(ctx context.Context, site *lab.Site, bin Binaries) (*AWS, error) {
	host := site.Host("vpc")
	out := filepath.Join(host.Folder, "aws")
	_, err := host.Exec(ctx, bin.AWS, "prepare", "-out", out, "-binary", bin.Nodeadm, "-base-url", "http://"+lab.AWSServices+"/artifacts",
		"-versions", OlderKubernetes+","+KubernetesVersion, "-region", Region)
	if err != nil {
		return nil, err
	}
	a := &AWS{client: clientIn(host), host: host, pki: filepath.Join(host.Folder, "pki")}
	if a.Manifest, err = os.ReadFile(filepath.Join(out, "manifest.yaml")); err != nil {
		return nil, fmt.Errorf("cannot read the prepared manifest: %w", err)
	}
	cmd := host.Command(context.Background(), bin.AWS, "serve",
		"-kube-listen", lab.EKSEndpoint+":443", "-aws-listen", lab.AWSServices+":80", "-endpoint", "https://"+lab.EKSEndpoint,
		"-artifacts", filepath.Join(out, "artifacts"), "-pki", a.pki,
		"-remote-node-networks", "10.200.0.0/16", "-remote-pod-networks", "192.168.128.0/17", "-service-cidr", "172.20.0.0/16",
		"-cluster", ClusterName, "-region", Region, "-cluster-version", "1.31", "-grace", "5s")
	if a.Process, err = host.Start("fakeaws", cmd); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err = lab.Until(ctx, "the AWS stand-in", 10*time.Millisecond, func(ctx context.Context) error {
		if err := a.Process.Ended(); err != nil {
			return lab.Final(fmt.Errorf("%w: %s", err, a.Process.Tail(5)))
		}
		_, err := a.Nodes(ctx)
		return err
	})
	return a, err
}

// clientIn is an HTTP client whose connections are made inside the host.
func clientIn(host *lab.Host) *http.Client {
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		var conn net.Conn
		err := host.Do(func() (err error) {
			conn, err = (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, network, address)
			return err
		})
		return conn, err
	}
	return &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}, Timeout: 5 * time.Second}
}

// Node is a Kubernetes node as the stand-in's API has it.
type Node struct {
	Name           string `json:"name"`
	InternalIP     string `json:"internalIP"`
	LastPeer       string `json:"lastPeer"`
	Ready          bool   `json:"ready"`
	ReadyReason    string `json:"readyReason"`
	Heartbeats     int    `json:"heartbeats"`
	GoodHeartbeats int    `json:"goodHeartbeats"`
	KubeletVersion string `json:"kubeletVersion"`
	Unschedulable  bool   `json:"unschedulable"`
}

// Peer is the address that the node's last heartbeat came from, without a port.
func (n Node) Peer() string {
	host, _, err := net.SplitHostPort(n.LastPeer)
	if err != nil {
		return strings.TrimSpace(n.LastPeer)
	}
	return host
}

// Nodes lists the nodes by name.
func (a *AWS) Nodes(ctx context.Context) (map[string]Node, error) {
	var list []Node
	if err := a.ask(ctx, http.MethodGet, "/lab/nodes", nil, &list); err != nil {
		return nil, err
	}
	nodes := make(map[string]Node)
	for _, node := range list {
		nodes[node.Name] = node
	}
	return nodes, nil
}

// PrepareHost puts the stand-ins for nodeadm, containerd and iptables onto the disk of a systemd host; disk is a folder of the site.
func (a *AWS) PrepareHost(ctx context.Context, site *lab.Site, bin Binaries, disk string) error {
	host := site.Host("vpc")
	_, err := host.Exec(ctx, bin.AWS, "prepare", "-out", filepath.Join(host.Folder, "host"), "-binary", bin.Nodeadm,
		"-base-url", "http://"+lab.AWSServices+"/artifacts", "-versions", KubernetesVersion, "-region", Region, "-host-root", disk)
	return err
}
