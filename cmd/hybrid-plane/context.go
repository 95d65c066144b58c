package main

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap/zapcore"

	"hybridagent/plane"
)

func newContext() *cobra.Command {
	var data, advertise string
	cmd := &cobra.Command{
		Use:   "context --data DIR",
		Short: "Write a fresh context file for the first operator",
		Long: `Write DIR/admin-context.yaml anew, with a certificate that is good for a year.

For an operator whose context file is lost or whose certificate has ended. The
plane must not run on DIR meanwhile: a plane that runs renews the file by itself.
The address is that of the former file unless --advertise gives another. What the
former file held stays valid until its own certificate ends.`,
		Example: "  hybrid-plane context --data /var/lib/hybrid-plane",
		Args: func(cmd *cobra.Command, args []string) error {
			return asUsage(cobra.NoArgs(cmd, args))
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return writeContext(cmd, data, advertise) },
	}
	cmd.Flags().StringVar(&data, "data", "", "data directory of the plane (required)")
	cmd.Flags().StringVar(&advertise, "advertise", "", "HOST:PORT under which operators reach the plane; default: as in the former file")
	return cmd
}

func writeContext(cmd *cobra.Command, data, advertise string) error {
	if data == "" {
		return usageError{errors.New("--data is missing: the directory that keeps the plane's state")}
	}
	cfg := plane.Config{DataDir: data, Now: time.Now}
	if advertise != "" {
		if host, port, err := net.SplitHostPort(advertise); err != nil || host == "" || port == "" {
			return usageError{fmt.Errorf("--advertise %q is no HOST:PORT", advertise)}
		}
		cfg.Advertise = []string{advertise}
	}
	log, err := newLogger(zapcore.ErrorLevel)
	if err != nil {
		return err
	}
	defer func() { _ = log.Sync() }() // stderr cannot be synced on every system
	cfg.Log = log
	path, err := plane.RenewContext(cmd.Context(), cfg)
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "context written to %s; copy it to where operators use it\n", path)
	return nil
}
