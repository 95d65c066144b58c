package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"hybridagent/agent"
	"hybridagent/agent/config"
)

func newRun() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the daemon in the foreground, as systemd does",
		Long: `Run the daemon in the foreground, as systemd does.

It ends on SIGTERM or SIGINT and leaves its routes in place. Exit codes:
0 ended by a signal, 1 failed, 2 wrong usage or configuration.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(path)
			if err != nil {
				return usage(err)
			}
			log, err := newLogger(cfg.Log.Level, cmd.ErrOrStderr())
			if err != nil {
				return usage(err)
			}
			defer func() { _ = log.Sync() }()
			if err := agent.Run(cmd.Context(), agent.Options{Config: cfg, Version: version, Log: log}); err != nil {
				log.Error("the daemon ends", zap.Error(err))
				return &exitError{exitUnhealthy, err}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&path, "config", config.DefaultPath, "`FILE` to read")
	return cmd
}

// newLogger writes one JSON object a line.
func newLogger(level string, to io.Writer) (*zap.Logger, error) {
	at, err := zapcore.ParseLevel(level)
	if err != nil {
		return nil, fmt.Errorf("cannot use log level %q: %w", level, err)
	}
	encoder := zap.NewProductionEncoderConfig()
	encoder.TimeKey, encoder.EncodeTime = "time", zapcore.RFC3339NanoTimeEncoder
	encoder.EncodeDuration = zapcore.StringDurationEncoder
	return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(encoder), zapcore.Lock(zapcore.AddSync(to)), at)), nil
}
