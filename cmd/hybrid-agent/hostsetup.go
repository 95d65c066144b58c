package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"hybridagent/agent/neighbours"
)

func newHostSetup() *cobra.Command {
	return newHostSetupOn(neighbours.Local(), os.Geteuid())
}

// newHostSetupOn is the command for a host, run by the user with that ID.
func newHostSetupOn(host neighbours.Host, uid int) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "host-setup",
		Short: "Show what else manages this host's network, and set it up on request",
		Long: `Show what else manages this host's network and what it does to the routes of
hybrid-agent. Nothing is changed; the commands below change what they are named
for.

VERDICT is "absent", "fine" (it leaves our routes alone), "disturbs" (it takes
them at times, the daemon puts them back) or "conflicts" (it has to go).

Exit codes: 0 nothing conflicts, 1 something does or it failed, 2 wrong usage.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(format); err != nil {
				return err
			}
			found, err := host.Detect(cmd.Context())
			if err != nil {
				return &exitError{exitUnhealthy, err}
			}
			if format == "table" {
				writeNeighbours(cmd.OutOrStdout(), newPainter(cmd.OutOrStdout()), found)
			} else if err := printValue(cmd.OutOrStdout(), format, map[string]any{"neighbours": found}); err != nil {
				return err
			}
			for _, f := range found {
				if f.Verdict == neighbours.Conflicts {
					return &exitError{code: exitUnhealthy}
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", "table", "table, json or yaml")
	cmd.AddCommand(newHostSetupNetworkd(host, uid))
	return cmd
}

func newHostSetupNetworkd(host neighbours.Host, uid int) *cobra.Command {
	var format string
	var undo, dryRun, acceptRisk bool
	cmd := &cobra.Command{
		Use:   "networkd",
		Short: "Ask systemd-networkd to leave routes of others alone",
		Long: `Ask systemd-networkd to leave routes and policy rules of others alone, by one
file of its own, ` + neighbours.DropInPath + `.
It holds for every program on this host. No file of networkd's is edited and
nothing is restarted: the command to do that is printed. Needs root.

Without it the daemon puts its routes back within milliseconds. With it they do
not go at a restart of networkd or a changed file; they still go for a moment
with an address or link (a lease that ends, a link that goes down).

Releases of systemd that may lose their own default gateway by it are refused
unless --accept-risk is given.

Exit codes: 0 done, or nothing was to do, 1 refused or failed, 2 wrong usage.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(format); err != nil {
				return err
			}
			if uid != 0 && !dryRun {
				return &exitError{exitUnhealthy, errors.New("cannot set up networkd: only root may; use sudo, or --dry-run to see what would be done")}
			}
			change, err := host.Plan(cmd.Context(), undo, acceptRisk)
			if err == nil && !dryRun {
				change, err = host.Do(change)
			}
			if err != nil {
				return &exitError{exitUnhealthy, err}
			}
			if format != "table" {
				return printValue(cmd.OutOrStdout(), format, change)
			}
			writeChange(cmd.OutOrStdout(), change, dryRun)
			return nil
		},
	}
	cmd.Flags().BoolVar(&undo, "undo", false, "remove the file again")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be done and do nothing")
	cmd.Flags().BoolVar(&acceptRisk, "accept-risk", false, "write it for a systemd with known faults too")
	cmd.Flags().StringVarP(&format, "output", "o", "table", "table, json or yaml")
	return cmd
}

func writeNeighbours(w io.Writer, p painter, found []neighbours.Finding) {
	const row = "%-15s %s\n"
	_, _ = fmt.Fprintf(w, row, "NEIGHBOUR", "VERDICT")
	for _, f := range found {
		verdict := string(f.Verdict)
		switch f.Verdict {
		case neighbours.Conflicts:
			verdict = p.bad(verdict)
		case neighbours.Fine:
			verdict = p.good(verdict)
		case neighbours.Absent:
			verdict = p.dim(verdict)
		}
		_, _ = fmt.Fprintf(w, row, f.ID, verdict)
		for _, text := range []string{f.Evidence, f.Remedy} {
			for _, line := range wrap(text, width-2) {
				_, _ = fmt.Fprintf(w, "  %s\n", line)
			}
		}
	}
}

// writeChange says in words what was done, or would be.
func writeChange(w io.Writer, c neighbours.Change, dryRun bool) {
	done := map[string]string{"write": "wrote " + c.Path, "remove": "removed " + c.Path, "none": "nothing to do"}
	if dryRun {
		done = map[string]string{"write": "would write " + c.Path, "remove": "would remove " + c.Path, "none": "nothing would be done"}
	}
	for _, line := range wrap(fmt.Sprintf("%s (%s)", done[c.Action], c.Systemd), width) {
		_, _ = fmt.Fprintln(w, line)
	}
	if dryRun && c.Content != "" {
		for line := range strings.Lines(c.Content) {
			_, _ = fmt.Fprintf(w, "  %s", line)
		}
	}
	for _, note := range c.Notes {
		for n, line := range wrap(note, width-2) {
			_, _ = fmt.Fprintf(w, "%s %s\n", [2]string{"-", " "}[min(n, 1)], line)
		}
	}
	if c.Next != "" {
		_, _ = fmt.Fprintf(w, "It takes effect with: %s\n", c.Next)
	}
}

// printValue prints a value as JSON or YAML.
func printValue(w io.Writer, format string, value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err == nil && format == "yaml" {
		text, err = yaml.JSONToYAML(text)
	}
	if err != nil {
		return fmt.Errorf("cannot print as %s: %w", format, err)
	}
	_, err = fmt.Fprintln(w, strings.TrimRight(string(text), "\n"))
	return err
}
