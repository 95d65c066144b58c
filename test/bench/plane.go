package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
	"hybridagent/test/bench/floor"
)

// planeAddress is where a bench plane listens, inside its host's namespace.
const planeAddress = "127.0.0.1:7443"

// benchPlane is the smallest plane that the agent talks to: it enrols anybody and
// pushes what it is told.
type benchPlane struct {
	agentv1.UnimplementedEnrollmentServiceServer
	agentv1.UnimplementedAgentServiceServer
	ca         *authority
	server     *grpc.Server
	pushes     chan *agentv1.AssignmentUpdate
	results    chan *agentv1.AssignmentResult
	connected  chan struct{}
	generation uint64
}

// newPlane serves in the host's namespace until stop.
func newPlane(h *host) (*benchPlane, error) {
	ca, err := newAuthority()
	if err != nil {
		return nil, err
	}
	config, err := ca.serverTLS()
	if err != nil {
		return nil, err
	}
	var listener net.Listener
	err = h.do(func() (err error) {
		listener, err = (&net.ListenConfig{KeepAlive: -1}).Listen(context.Background(), "tcp", planeAddress)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot listen as the plane: %w", err)
	}
	p := &benchPlane{
		ca: ca, server: grpc.NewServer(grpc.Creds(credentials.NewTLS(config))),
		pushes: make(chan *agentv1.AssignmentUpdate), results: make(chan *agentv1.AssignmentResult, 16),
		connected: make(chan struct{}, 16),
	}
	agentv1.RegisterEnrollmentServiceServer(p.server, p)
	agentv1.RegisterAgentServiceServer(p.server, p)
	go func() { _ = p.server.Serve(listener) }()
	return p, nil
}

func (p *benchPlane) stop() { p.server.Stop() }

// Enroll signs whatever comes.
func (p *benchPlane) Enroll(_ context.Context, r *agentv1.EnrollRequest) (*agentv1.EnrollResponse, error) {
	return p.ca.enroll(r)
}

// Connect welcomes a host and sends it what is pushed.
func (p *benchPlane) Connect(stream grpc.BidiStreamingServer[agentv1.AgentMessage, agentv1.PlaneMessage]) error {
	welcome := &agentv1.Welcome{PlaneVersion: "bench", PlaneTime: timestamppb.Now()}
	if err := stream.Send(&agentv1.PlaneMessage{Message: &agentv1.PlaneMessage_Welcome{Welcome: welcome}}); err != nil {
		return err
	}
	p.connected <- struct{}{}
	go func() {
		for {
			m, err := stream.Recv()
			if err != nil {
				return
			}
			if r := m.GetAssignmentResult(); r != nil {
				p.results <- r
			}
		}
	}()
	for {
		select {
		case <-stream.Context().Done():
			return nil
		case u := <-p.pushes:
			if err := stream.Send(&agentv1.PlaneMessage{Message: &agentv1.PlaneMessage_Assignment{Assignment: u}}); err != nil {
				return err
			}
		}
	}
}

// awaitHost waits for a stream.
func (p *benchPlane) awaitHost(ctx context.Context) error {
	select {
	case <-p.connected:
		return nil
	case <-time.After(20 * time.Second):
		return errors.New("no host connected within 20 s")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// push sends a payload with the next generation.
func (p *benchPlane) push(ctx context.Context, payload []byte) error {
	p.generation++
	sum := sha256.Sum256(payload)
	u := &agentv1.AssignmentUpdate{Generation: p.generation, Digest: hex.EncodeToString(sum[:]), Assignment: payload}
	select {
	case p.pushes <- u:
		return nil
	case <-time.After(5 * time.Second):
		return errors.New("no stream takes the push")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// awaitResult waits for the answer to the last push.
func (p *benchPlane) awaitResult(ctx context.Context) error {
	for {
		select {
		case r := <-p.results:
			if r.GetGeneration() != p.generation {
				continue
			}
			if !r.GetAccepted() {
				return fmt.Errorf("the assignment was refused: %v", r.GetRefusals())
			}
			return nil
		case <-time.After(5 * time.Second):
			return errors.New("no answer to an assignment within 5 s")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// assignment is one as the plane compiles it for a small site, for one VPC CIDR.
func assignment(hostID string, r floor.Route) ([]byte, error) {
	digest := sha256.Sum256([]byte("node part of the benchmark"))
	cidrs := []string{netip.PrefixFrom(netip.AddrFrom4(r.Dst), int(r.Bits)).String()}
	servers := []string{netip.AddrFrom4(r.Gateway).String()}
	nodes := []string{"10.200.0.0/16"}
	return proto.Marshal(&agentv1.Assignment{
		HostId: hostID, Pool: "bench",
		Network: &agentv1.NetworkSpec{
			VpcCidrs: cidrs, VpnServers: servers, RemoteNodeCidrs: nodes,
			RemotePodCidrs: []string{"192.168.128.0/17"}, ServiceCidr: "172.20.0.0/16",
			Nic: &agentv1.NICSelector{},
		},
		Probes: &agentv1.ProbeSpec{}, Time: &agentv1.TimeSpec{}, NodeDigest: hex.EncodeToString(digest[:]),
		Labels: map[string]string{"site": "bench"},
		Node: &agentv1.NodeSpec{
			ClusterName: "bench", Region: "us-west-2", KubernetesVersion: "1.31.5",
			Access: &agentv1.AccessManagement{Method: &agentv1.AccessManagement_IamRolesAnywhere{
				IamRolesAnywhere: &agentv1.RolesAnywhereAccess{NodeName: hostID},
			}},
			VpcCidrs: cidrs, VpnServers: servers, RemoteNodeCidrs: nodes,
		},
	})
}
