package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"hybridagent/agent/config"
	"hybridagent/agent/operation/rootfile"
	"hybridagent/systemd"
)

type serveFlags struct {
	config     string
	runner     string
	idle       time.Duration
	daemonUser string
}

func newServe() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Derive the host ID, resume what was under way, and open the door",
		Long: `Derive the host ID, resume the operation that was under way, and serve the
daemon on the socket that systemd passes, or else on paths.opSocket.

With a socket from systemd it ends when nothing was asked for --idle and no
operation runs; the next request starts it again. On SIGTERM it ends at once: an
operation under way goes on in its transient unit and is taken up at the next
start (with --runner direct it is ended, and its step done again).`,
		Example: "  hybrid-agent-op serve --config /etc/hybrid-agent/config.yaml --runner systemd",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd.Context(), f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.config, "config", config.DefaultPath, "configuration `file`; root alone may be able to change it")
	flags.StringVar(&f.runner, "runner", "systemd", "how nodeadm is run: systemd (transient units) or direct (process groups, where there is no systemd)")
	flags.DurationVar(&f.idle, "idle", time.Minute, "end when idle for this `time`, if started by systemd's socket; 0: never")
	flags.StringVar(&f.daemonUser, "daemon-user", "hybrid-agent", "`user` name or number that may use the door beside root; where it does not exist, only root may")
	return cmd
}

// serve is everything between reading the configuration and the exit code.
func serve(ctx context.Context, f serveFlags) error {
	if f.runner != "systemd" && f.runner != "direct" {
		return usageError{fmt.Errorf("--runner %q is neither systemd nor direct", f.runner)}
	}
	if os.Geteuid() != 0 {
		return errors.New("cannot serve: hybrid-agent-op must run as root; it is started by hybrid-agent-op.socket")
	}
	if err := rootfile.Check(f.config); err != nil {
		return fmt.Errorf("cannot use the configuration: %w", err)
	}
	cfg, err := config.Load(f.config)
	if err != nil {
		return err
	}
	log, err := newLogger(cfg.Log.Level)
	if err != nil {
		return err
	}
	defer func() { _ = log.Sync() }()
	parts, err := build(ctx, log, cfg, f)
	if err != nil {
		return err
	}
	defer parts.close()
	if err := systemd.Notify(systemd.Ready, systemd.Status("host ID "+parts.hostID)); err != nil {
		log.Warn("cannot tell systemd that the service is ready", zap.Error(err))
	}
	err = parts.run(ctx, f.idle)
	if notifyErr := systemd.Notify(systemd.Stopping); notifyErr != nil {
		log.Warn("cannot tell systemd that the service ends", zap.Error(notifyErr))
	}
	return err
}

func newLogger(level string) (*zap.Logger, error) {
	parsed, err := zapcore.ParseLevel(level)
	if err != nil {
		return nil, fmt.Errorf("cannot use log level %q: %w", level, err)
	}
	settings := zap.NewProductionConfig()
	settings.Level = zap.NewAtomicLevelAt(parsed)
	settings.DisableCaller = true
	settings.DisableStacktrace = true
	settings.Sampling = nil
	settings.EncoderConfig.EncodeTime = zapcore.RFC3339TimeEncoder
	log, err := settings.Build()
	if err != nil {
		return nil, fmt.Errorf("cannot make a logger: %w", err)
	}
	return log.Named("op"), nil
}
