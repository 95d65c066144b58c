package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"hybridagent/test/lab"
	"hybridagent/test/lab/actors"
)

// checkRepair deletes the route behind the agent's back; the kernel's own message says when it is back.
func (d *demo) checkRepair(ctx context.Context) (string, error) {
	edge := d.edges[0]
	vpc := netip.MustParsePrefix(lab.VPCCIDR)
	monitor, err := edge.Host.MonitorRoute(vpc)
	if err != nil {
		return "", err
	}
	defer monitor.Close()
	if d.sabotage == breakRepair {
		if err := edge.Agent.Signal(unix.SIGSTOP); err != nil {
			return "", err
		}
	}
	deleted, err := edge.Host.DeleteRoute(vpc)
	if err != nil {
		return "", err
	}
	back, err := monitor.Repaired(ctx)
	if err != nil {
		return "", err
	}
	if _, err := edge.Host.Exec(ctx, "ping", "-c", "1", "-W", "1", "-q", lab.EKSEndpoint); err != nil {
		return "", fmt.Errorf("the route is back, but the VPC does not answer: %w", err)
	}
	return fmt.Sprintf("route deleted on edge-1; the kernel's own message of its return came %.2f ms later",
		float64(back.Sub(deleted))/float64(time.Millisecond)), nil
}

// checkCache stops the plane and restarts an agent whose route is gone, as after a power cut at a site that is cut off.
func (d *demo) checkCache(ctx context.Context) (string, error) {
	edge := d.edges[0]
	if err := d.plane.Process.Stop(10 * time.Second); err != nil {
		return "", err
	}
	if err := edge.Agent.Stop(10 * time.Second); err != nil {
		return "", err
	}
	d.say("the plane is stopped, and so is the agent of edge-1; its route is deleted")
	// An agent may leave its route when it ends, or not: both are right here.
	if out, err := edge.Host.Command(ctx, "ip", "route", "flush", lab.VPCCIDR).CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot delete the route: %w: %s", err, out)
	}
	if d.sabotage == breakCache {
		_, err := edge.Host.Exec(ctx, "sh", "-c", "cd /var/lib/hybrid-agent && rm assignment && rm -f provisioned pending nic")
		if err != nil {
			return "", err
		}
	}
	monitor, err := edge.Host.MonitorRoute(netip.MustParsePrefix(lab.VPCCIDR))
	if err != nil {
		return "", err
	}
	defer monitor.Close()
	begin := time.Now()
	if err := edge.StartAgent(); err != nil {
		return "", err
	}
	added, err := monitor.Added(ctx)
	if err != nil {
		return "", d.whyNoRoute(context.WithoutCancel(ctx), edge, err)
	}
	err = lab.Until(ctx, "the status from the cache", poll, func(ctx context.Context) error { return d.holdsFromCache(ctx, edge) })
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("plane stopped, agent of edge-1 restarted: route back %d ms after its start, status and NodeReady hold",
		added.Sub(begin).Milliseconds()), nil
}

func (d *demo) holdsFromCache(ctx context.Context, edge *actors.Edge) error {
	status, err := edge.Status(ctx)
	if err != nil {
		return err
	}
	switch {
	case status.Plane.Connected:
		return errors.New("the agent calls a stopped plane connected")
	case status.Assignment.Pool != actors.PoolName || !status.Assignment.FromCache:
		return fmt.Errorf("assignment of pool %q, from the cache: %v", status.Assignment.Pool, status.Assignment.FromCache)
	case status.Network.NodeIP != lab.LANAddress(1):
		return fmt.Errorf("node IP is %q", status.Network.NodeIP)
	}
	return errors.Join(status.Holds("NICSelected"), status.Holds("RoutesInstalled"), status.Holds("PathHealthy"), status.Holds("NodeReady"))
}

// checkReconnect starts the plane again and waits until all is as before.
func (d *demo) checkReconnect(ctx context.Context) (string, error) {
	begin := time.Now()
	if err := d.plane.Start(ctx); err != nil {
		return "", err
	}
	if err := d.awaitPool(ctx); err != nil {
		return "", err
	}
	for _, edge := range d.edges {
		status, err := edge.Status(ctx)
		if err != nil {
			return "", err
		}
		if !status.Plane.Connected {
			return "", fmt.Errorf("%s does not call itself connected", edge.Host.Name)
		}
		if status.Assignment.FromCache {
			return "", fmt.Errorf("%s still calls its assignment cached", edge.Host.Name)
		}
	}
	return fmt.Sprintf("both hosts connected and the pool Running %.1f s after the plane's return", time.Since(begin).Seconds()), nil
}
