package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"time"

	"hybridagent/agent/operation/engine"
	"hybridagent/nodeadm/nodeapi"
)

// reachTimeout bounds one look for the Kubernetes API.
const reachTimeout = 10 * time.Second

// Reach says whether anything takes a TCP connection at the address of an API
// server. It asks for no credentials: a change that went wrong may have ruined the
// node's, and then only the way back brings them back.
func Reach(ctx context.Context, server string) error {
	at, err := url.Parse(server)
	if err != nil {
		return fmt.Errorf("cannot read the API server's address: %w", err)
	}
	port := at.Port()
	switch {
	case port == "" && at.Scheme == "http":
		port = "80"
	case port == "":
		port = "443"
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(at.Hostname(), port))
	if err != nil {
		return err
	}
	return conn.Close()
}

// formerReach says why the former node's API, or the VPC, cannot be reached. It is nil
// too where that cannot be told, and where the operation brought another network:
// the daemon has the former one back only when this operation has ended.
func (p *job) formerReach(ctx context.Context) error {
	before, err := p.readHeld()
	if err != nil || before.Server == "" || !p.sameNetwork() {
		return nil
	}
	if len(p.former.Node.GetVpnServers()) > 0 {
		former := *p
		former.spec, former.nodeIP = p.former.Node, p.former.NodeIP
		if reason := former.astray(); reason != "" {
			return errors.New(reason)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	if err = p.Reach(ctx, before.Server); err == nil {
		return nil
	}
	// A proxy may lead there.
	if p.cluster(func(c Cluster) error { _, err := c.ServerVersion(ctx); return err }) == nil {
		return nil
	}
	return fmt.Errorf("the Kubernetes API at %s does not answer: %w", before.Server, err)
}

// sameNetwork says whether the operation leaves the node IP and the way to the VPC
// as they were.
func (p *job) sameNetwork() bool {
	return p.spec == nil || p.nodeIP == p.former.NodeIP && slices.Equal(p.spec.GetVpcCidrs(), p.former.Node.GetVpcCidrs())
}

// awaitFormer waits until the way back has what it needs. Nothing that runs is
// stopped meanwhile.
func (p *job) awaitFormer(ctx context.Context, run engine.Run) error {
	told := false
	err := waitEvery(ctx, p.PollInterval, run, func() error {
		err := p.formerReach(ctx)
		if err == nil {
			return nil
		}
		err = &awaited{fmt.Errorf("the way back needs the network: %w; look at 'hybrid-agent status'", err)}
		if !told {
			told = true
			p.tell(run, "waiting: %v", err)
		}
		return err
	})
	if err == nil && told {
		p.tell(run, "the network is back")
	}
	return err
}

// connected does part of the way back within a limit that counts only time with the
// API in reach: a failure during an outage says nothing, and it is done again
// after it.
func (p *job) connected(ctx context.Context, run engine.Run, limit time.Duration, do func(context.Context) error) error {
	// What was forced without the API does not wait for it.
	await := !p.decided.NoAPI
	for {
		if await {
			if err := p.awaitFormer(ctx, run); err != nil {
				return err
			}
		}
		bounded, cancel := context.WithTimeout(ctx, limit)
		err := do(bounded)
		cancel()
		if err == nil || ctx.Err() != nil || p.formerReach(ctx) == nil {
			return err
		}
		p.tell(run, "the network was lost on the way back: %v", err)
		await = true
	}
}

// passesByItself says whether an error is an API that comes back.
func passesByItself(err error) bool {
	var unreachable *nodeapi.UnreachableError
	if errors.As(err, &unreachable) && (unreachable.Cause == nodeapi.CauseTLS || unreachable.Cause == nodeapi.CauseUnauthorized) {
		return false
	}
	return errors.Is(err, nodeapi.ErrUnreachable)
}
