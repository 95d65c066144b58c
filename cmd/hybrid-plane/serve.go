package main

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"hybridagent/plane"
)

type serveFlags struct {
	data      string
	listen    string
	advertise []string
	logLevel  string
	noFsync   bool
}

func newServe() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve --data DIR --advertise HOST:PORT",
		Short: "Run the plane until it is told to stop",
		Long: `Run the plane until SIGTERM or SIGINT.

DIR keeps everything that must survive, its embedded etcd included. Back it up
with DIR/secret.key, without which the secrets in it cannot be read. On the
first start DIR/admin-context.yaml is written: the first operator's way in. Its
certificate is good for a year; a plane that runs writes a new one into the file
after eight months, and 'hybrid-plane context' does so while none runs.`,
		Example: "  hybrid-plane serve --data /var/lib/hybrid-plane --advertise plane.example:7443",
		Args: func(cmd *cobra.Command, args []string) error {
			return asUsage(cobra.NoArgs(cmd, args))
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd, f) },
	}
	cmd.Flags().StringVar(&f.data, "data", "", "data directory (required)")
	cmd.Flags().StringVar(&f.listen, "listen", ":7443", "address to serve hosts and operators on")
	cmd.Flags().StringSliceVar(&f.advertise, "advertise", nil, "HOST:PORT under which hosts and operators reach the plane (required); the first goes into the context file")
	cmd.Flags().StringVar(&f.logLevel, "log-level", "info", "least level that is logged: debug, info, warn or error")
	cmd.Flags().BoolVar(&f.noFsync, "unsafe-no-fsync", false, "do not wait for the disk: a power cut loses data; for tests only")
	return cmd
}

// check refuses what cannot work before anything is written.
func (f serveFlags) check() (zapcore.Level, error) {
	level, err := zapcore.ParseLevel(f.logLevel)
	if err != nil {
		return 0, usageError{fmt.Errorf("--log-level %q is none of debug, info, warn, error", f.logLevel)}
	}
	if f.data == "" {
		return 0, usageError{errors.New("--data is missing: the directory that keeps the plane's state")}
	}
	if _, _, err := net.SplitHostPort(f.listen); err != nil {
		return 0, usageError{fmt.Errorf("--listen %q is no HOST:PORT or :PORT", f.listen)}
	}
	if len(f.advertise) == 0 {
		return 0, usageError{errors.New("--advertise is missing: HOST:PORT under which hosts and operators reach the plane")}
	}
	for _, a := range f.advertise {
		if host, port, err := net.SplitHostPort(a); err != nil || host == "" || port == "" {
			return 0, usageError{fmt.Errorf("--advertise %q is no HOST:PORT", a)}
		}
	}
	return level, nil
}

func serve(cmd *cobra.Command, f serveFlags) error {
	level, err := f.check()
	if err != nil {
		return err
	}
	log, err := newLogger(level)
	if err != nil {
		return err
	}
	defer func() { _ = log.Sync() }() // stderr cannot be synced on every system
	return plane.Run(cmd.Context(), plane.Config{
		DataDir: f.data, Listen: f.listen, Advertise: f.advertise,
		Version: version(), Log: log, UnsafeNoFsync: f.noFsync,
		Ready: func(i plane.Info) {
			fmt.Fprintf(cmd.OutOrStdout(), "ready listen=%s advertise=%s ca-pin=%s context=%s\n",
				i.Listen, strings.Join(f.advertise, ","), i.CAPin, i.ContextFile)
		},
	})
}

func newLogger(level zapcore.Level) (*zap.Logger, error) {
	cfg := zap.NewProductionConfig()
	cfg.Level = zap.NewAtomicLevelAt(level)
	cfg.EncoderConfig.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	cfg.DisableCaller, cfg.DisableStacktrace = true, true
	log, err := cfg.Build()
	if err != nil {
		return nil, fmt.Errorf("cannot make a logger: %w", err)
	}
	return log, nil
}
