package main

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"hybridagent/agent/config"
	"hybridagent/agent/operation/lifecycle"
	"hybridagent/agent/operation/osimage"
	"hybridagent/systemd"
)

// appliance is the host's image where it has one; nil where its own OS stays.
func (p *parts) appliance(cfg config.Config, runner string) *lifecycle.Appliance {
	driver, err := osimage.Detect(cfg.Paths.Root, cfg.Paths.OpState)
	if errors.Is(err, osimage.ErrNoDriver) {
		return nil
	}
	if err != nil {
		p.log.Warn("this host's image cannot be managed", zap.Error(err))
		return nil
	}
	p.log.Info("this host is an appliance", zap.String("driver", driver.Name()))
	return &lifecycle.Appliance{Driver: driver, Reboot: func(ctx context.Context) error { return reboot(ctx, runner) }}
}

// reboot asks systemd for it.
func reboot(ctx context.Context, runner string) error {
	if runner != "systemd" {
		return errors.New("this host is not run by systemd; reboot it by hand, and the operation goes on")
	}
	manager, err := systemd.OpenManager(ctx)
	if err != nil {
		return err
	}
	defer manager.Close()
	return manager.Reboot(ctx)
}

// bootedImage names the booted image for the node's state; nil where there is none.
func bootedImage(cfg config.Config, appliance *lifecycle.Appliance) func(context.Context) string {
	if appliance == nil {
		return nil
	}
	return func(ctx context.Context) string {
		return osimage.Known(ctx, appliance.Driver, cfg.Paths.Root, cfg.Paths.OpState)
	}
}
