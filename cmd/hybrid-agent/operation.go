package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"hybridagent/agent/operation"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	localv1 "hybridagent/proto/hybrid/local/v1"
)

// exitAborted is watch's exit code of an operation that somebody ended.
const exitAborted = 4

func newOperation() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "operation",
		Short: "Show, watch, plan or end operations of this host",
		Long: `Show, watch, plan or end operations of this host.

An operation installs, changes or removes the node. The plane signs it; root on
this host may end one (abort), have the node brought to what is in force once
more (repair), or take it out of its cluster (leave).`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newOperationShow(), newOperationWatch(), newOperationPlan(),
		newOperationAbort(), newOperationRepair(), newOperationLeave())
	return cmd
}

// oneID takes at most one operation ID.
func oneID(cmd *cobra.Command, args []string) error {
	if err := cobra.MaximumNArgs(1)(cmd, args); err != nil {
		return usage(err)
	}
	if len(args) == 1 && !operation.ValidID(args[0]) {
		return usage(fmt.Errorf("%q is no operation ID: it has 26 lowercase letters and digits", args[0]))
	}
	return nil
}

// idOf is the ID given, or empty: the operation that runs or ran last.
func idOf(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

func newOperationShow() *cobra.Command {
	var socket, format string
	cmd := &cobra.Command{
		Use:   "show [ID]",
		Short: "Show the operation that runs or ran last, or the one named",
		Long: `Show the operation that runs or ran last, or the one named: its state, its
steps, when it is expected to end, and the last lines of its log.

Exit codes: 0 shown, 1 there is none, 2 wrong usage, 3 the daemon cannot be
reached.`,
		Args: oneID,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFormat(format); err != nil {
				return err
			}
			progress, err := readOperation(cmd.Context(), socket, idOf(args))
			if err != nil {
				return err
			}
			if format != "table" {
				return printMessage(cmd.OutOrStdout(), format, progress)
			}
			writeOperation(cmd.OutOrStdout(), progress, time.Now())
			return nil
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", "table", "table, json or yaml")
	cmd.Flags().StringVar(&socket, "socket", defaultSocket, "`PATH` to ask at")
	return cmd
}

// readOperation returns where an operation stands.
func readOperation(ctx context.Context, socket, id string) (*agentv1.OperationProgress, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var shown *agentv1.OperationProgress
	err := watchOnce(ctx, socket, id, func(progress *agentv1.OperationProgress) error {
		shown = progress
		return io.EOF
	})
	if shown != nil {
		return shown, nil
	}
	return nil, err
}

// watchOnce calls seen with the progress of an operation until it has ended, seen
// fails, or the daemon goes away. Its errors are *exitError.
func watchOnce(ctx context.Context, socket, id string, seen func(*agentv1.OperationProgress) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return &exitError{exitUnreachable, fmt.Errorf("cannot reach the daemon at %s: %w", socket, err)}
	}
	defer func() { _ = conn.Close() }()
	stream, err := localv1.NewLocalServiceClient(conn).WatchOperation(ctx, &localv1.WatchOperationRequest{OperationId: id})
	for err == nil {
		var answer *localv1.WatchOperationResponse
		if answer, err = stream.Recv(); err == nil {
			err = seen(answer.GetOperation())
		}
	}
	return watchError(socket, err)
}

func watchError(socket string, err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case status.Code(err) == codes.NotFound:
		return &exitError{exitUnhealthy, errors.New(status.Convert(err).Message())}
	default:
		return daemonError(socket, err)
	}
}
