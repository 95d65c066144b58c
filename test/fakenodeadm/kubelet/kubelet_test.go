package kubelet_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hybridagent/test/fakeaws/server"
	"hybridagent/test/fakenodeadm/kubelet"
	"hybridagent/test/fakenodeadm/lab"
)

// start runs a kubelet stand-in on loopback addresses until the test ends and returns its API.
func start(t *testing.T, flags []string, settings lab.Kubelet) *server.Server {
	t.Helper()
	s, err := server.New(server.Options{Grace: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	settings.HeartbeatIntervalMS = 20
	args := append(files(t, s), flags...)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- kubelet.Run(ctx, args, settings, os.Environ(), io.Discard) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && settings.ExitAfterSeconds == 0 {
			t.Errorf("kubelet ended with %v", err)
		}
	})
	return s
}

// files writes what nodeadm leaves for kubelet, and an authenticator that prints a fixed token.
func files(t *testing.T, s *server.Server) []string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca := write("ca.crt", string(s.CA()), 0o644)
	auth := write("auth", "#!/bin/sh\nprintf '{\"status\":{\"token\":\"k8s-aws-v1.stub\"}}'\n", 0o755)
	kubeconfig := fmt.Sprintf("clusters: [{cluster: {certificate-authority: %s, server: %q}}]\nusers: [{user: {exec: {command: %q}}}]\n", ca, s.Endpoint(), auth)
	return []string{
		"--kubeconfig=" + write("kubeconfig", kubeconfig, 0o644), "--cert-dir=" + dir,
		"--config=" + write("config.json", `{"kind":"KubeletConfiguration","maxPods":42}`, 0o644),
	}
}

// node polls until the one node satisfies want.
func node(t *testing.T, s *server.Server, what string, want func(server.NodeInfo) bool) server.NodeInfo {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		nodes := s.Nodes()
		if len(nodes) == 1 && want(nodes[0]) {
			return nodes[0]
		}
		select {
		case <-deadline:
			t.Fatalf("no node that is %s within 10 s: %+v", what, nodes)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestHeartbeatsFromTheNodeIPMakeItReady(t *testing.T) {
	t.Parallel()
	s := start(t, []string{
		"--hostname-override=edge-1", "--node-labels=site=a", "--node-labels=rack=7", "--node-ip", "127.0.0.2",
		"--register-with-taints=only=edge:NoSchedule,spot:NoExecute",
	}, lab.Kubelet{})
	n := node(t, s, "ready", func(n server.NodeInfo) bool { return n.Ready })
	if n.Name != "edge-1" || n.InternalIP != "127.0.0.2" || n.LastPeer != "127.0.0.2" {
		t.Errorf("node %s with address %s heard from %s, want edge-1 with and from 127.0.0.2", n.Name, n.InternalIP, n.LastPeer)
	}
	if n.Labels["site"] != "a" || n.Labels["rack"] != "7" {
		t.Errorf("labels %v, want those of both flags", n.Labels)
	}
	if got := strings.Join(n.Taints, " "); got != "only=edge:NoSchedule spot=:NoExecute" {
		t.Errorf("taints %q", got)
	}
}

func TestHeartbeatsFromAnotherAddressDoNotCount(t *testing.T) {
	t.Parallel()
	s := start(t, []string{"--hostname-override=edge-1", "--node-ip=127.0.0.2"}, lab.Kubelet{HeartbeatFrom: "127.0.0.3"})
	n := node(t, s, "heard from", func(n server.NodeInfo) bool { return n.Heartbeats > 10 })
	if n.Ready || n.GoodHeartbeats != 0 || n.LastPeer != "127.0.0.3" || n.ReadyReason != "HeartbeatFromOtherAddress" {
		t.Errorf("node %+v, want not ready because of the address 127.0.0.3", n)
	}
}

func TestKubeletThatEndsLeavesTheNodeNotReady(t *testing.T) {
	t.Parallel()
	s := start(t, []string{"--hostname-override=edge-1", "--node-ip=127.0.0.2"}, lab.Kubelet{ExitAfterSeconds: 2})
	node(t, s, "ready", func(n server.NodeInfo) bool { return n.Ready })
	n := node(t, s, "no longer ready", func(n server.NodeInfo) bool { return !n.Ready })
	if n.ReadyReason != "NodeStatusUnknown" {
		t.Errorf("reason %s, want NodeStatusUnknown", n.ReadyReason)
	}
}

func TestHeartbeatsResumeWhenTheAPIReturns(t *testing.T) {
	t.Parallel()
	s := start(t, []string{"--hostname-override=edge-1", "--node-ip=127.0.0.2"}, lab.Kubelet{})
	node(t, s, "ready", func(n server.NodeInfo) bool { return n.Ready })
	if err := s.SetFaults(server.Faults{KubeAPI: "down"}); err != nil {
		t.Fatal(err)
	}
	node(t, s, "no longer ready", func(n server.NodeInfo) bool { return !n.Ready })
	if err := s.SetFaults(server.Faults{}); err != nil {
		t.Fatal(err)
	}
	node(t, s, "ready again", func(n server.NodeInfo) bool { return n.Ready })
}

func TestBrokenConfigurationIsRefused(t *testing.T) {
	t.Parallel()
	s, err := server.New(server.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	args := files(t, s)
	empty := strings.TrimPrefix(args[2], "--config=")
	if err := os.Truncate(empty, 0); err != nil {
		t.Fatal(err)
	}
	err = kubelet.Run(t.Context(), args, lab.Kubelet{}, nil, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "failed to load kubelet config file") {
		t.Errorf("kubelet with an empty configuration: %v, want a refusal", err)
	}
}

func TestAFaultOfAnotherVersionLeavesTheKubeletAlone(t *testing.T) {
	t.Parallel()
	for version, ready := range map[string]bool{"1.31": true, "0.0.0-standin": false} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			s := start(t, []string{"--hostname-override=edge-1", "--node-ip=127.0.0.2"}, lab.Kubelet{Version: version, NotReady: true})
			n := node(t, s, "heard from", func(n server.NodeInfo) bool { return n.GoodHeartbeats > 2 })
			if n.Ready != ready {
				t.Errorf("node %+v, want ready %v", n, ready)
			}
		})
	}
}

func TestAPendingServingCertificateArrivesOnceApproved(t *testing.T) {
	t.Parallel()
	s, err := server.New(server.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.SetFaults(server.Faults{CSR: "pending"}); err != nil {
		t.Fatal(err)
	}
	args := append(files(t, s), "--hostname-override=edge-1", "--node-ip=127.0.0.2")
	cert := filepath.Join(strings.TrimPrefix(args[1], "--cert-dir="), "kubelet-server-current.pem")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- kubelet.Run(ctx, args, lab.Kubelet{HeartbeatIntervalMS: 20}, os.Environ(), io.Discard) }()
	node(t, s, "heard from", func(n server.NodeInfo) bool { return n.GoodHeartbeats > 5 })
	if _, err := os.Stat(cert); err == nil {
		t.Error("there is a serving certificate while its request is pending")
	}
	if err := s.SetFaults(server.Faults{}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; <-time.After(10 * time.Millisecond) {
		if raw, err := os.ReadFile(cert); err == nil && strings.Contains(string(raw), "BEGIN CERTIFICATE") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no serving certificate within 10 s of its approval")
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("kubelet ended with %v", err)
	}
}
