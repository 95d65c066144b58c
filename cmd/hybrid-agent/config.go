package main

import (
	"github.com/spf13/cobra"

	"hybridagent/agent/config"
)

func newConfig() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Work with the configuration file",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newConfigCheck())
	return cmd
}

func newConfigCheck() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the configuration file",
		Long: `Check the configuration file. Each mistake is named with file, line and key.

Exit codes: 0 valid, 1 not valid, 2 wrong usage.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := config.Load(path); err != nil {
				return &exitError{exitUnhealthy, err}
			}
			cmd.Printf("%s is valid\n", path)
			return nil
		},
	}
	cmd.Flags().StringVar(&path, "config", config.DefaultPath, "`FILE` to read")
	return cmd
}
