package main

import (
	"context"
	"time"

	"hybridagent/agent/operation/lifecycle"
	"hybridagent/nodeadm/drain"
	"hybridagent/nodeadm/nodeapi"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	"hybridagent/systemd"
)

// cluster is the Kubernetes API as package lifecycle wants it.
type cluster struct{ *nodeapi.Client }

// openCluster opens it with kubelet's kubeconfig.
func openCluster(kubeconfig string) (lifecycle.Cluster, error) {
	client, err := nodeapi.Open(kubeconfig)
	if err != nil {
		return nil, err
	}
	return cluster{client}, nil
}

// CheckDrain says what would keep a drain from its end.
func (c cluster) CheckDrain(ctx context.Context, name string, options *agentv1.DrainOptions) error {
	report, err := drain.Check(ctx, c.Client, name, drain.FromProto(options))
	if err != nil {
		return err
	}
	return report.Err(name)
}

// Drain moves the pods away.
func (c cluster) Drain(ctx context.Context, name string, options *agentv1.DrainOptions, say func(string)) error {
	return drain.Run(ctx, c.Client, name, drain.FromProto(options), say)
}

// units are systemd's, over a connection for each question: they are few, and
// systemd may be restarted in between.
type units struct{}

func (units) with(ctx context.Context, do func(*systemd.Manager) error) error {
	manager, err := systemd.OpenManager(ctx)
	if err != nil {
		return err
	}
	defer manager.Close()
	return do(manager)
}

// Running says whether a unit is active, and since when.
func (u units) Running(ctx context.Context, name string) (active bool, since time.Duration, err error) {
	err = u.with(ctx, func(m *systemd.Manager) error {
		active, since, err = m.ActiveFor(ctx, name)
		return err
	})
	return active, since, err
}

// Stop stops a unit.
func (u units) Stop(ctx context.Context, name string) error {
	return u.with(ctx, func(m *systemd.Manager) error { return m.StopUnit(ctx, name) })
}

// Reload has systemd read its unit files again.
func (u units) Reload(ctx context.Context) error {
	return u.with(ctx, func(m *systemd.Manager) error { return m.Reload(ctx) })
}

// unitsOf are systemd's units where operations run with it.
func unitsOf(runner string) lifecycle.Units {
	if runner != "systemd" {
		return nil
	}
	return units{}
}
