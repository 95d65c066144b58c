package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"hybridagent/agent/config"
	"hybridagent/agent/operation"
	"hybridagent/agent/operation/engine"
	"hybridagent/agent/operation/journal"
)

func newShow() *cobra.Command {
	var configPath, output string
	cmd := &cobra.Command{
		Use:     "show [OPERATION-ID]",
		Short:   "Show the last operation, or the one named, and its journal",
		Example: "  hybrid-agent-op show -o json",
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cobra.MaximumNArgs(1)(cmd, args); err != nil {
				return usageError{err}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "table" && output != "json" {
				return usageError{fmt.Errorf("--output %q is neither table nor json", output)}
			}
			cfg, err := config.Load(configPath)
			if err != nil {
				return err
			}
			j, err := findJournal(cfg.Paths.OpState, args)
			if err != nil {
				return err
			}
			if output == "json" {
				return showJSON(cmd.OutOrStdout(), j)
			}
			return showTable(cmd.OutOrStdout(), j)
		},
	}
	cmd.Flags().StringVar(&configPath, "config", config.DefaultPath, "configuration `file`")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "output `format`: table or json")
	return cmd
}

func findJournal(opState string, args []string) (*journal.Journal, error) {
	journals, err := journal.Open(filepath.Join(opState, journalFolder))
	if err != nil {
		return nil, err
	}
	if len(args) == 1 {
		if !operation.ValidID(args[0]) {
			return nil, usageError{fmt.Errorf("%q is no operation ID: 26 lowercase letters and digits", args[0])}
		}
		return journals.Peek(args[0])
	}
	ids, err := journals.IDs()
	if err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		return nil, errors.New("there was no operation on this host yet")
	}
	return journals.Peek(ids[len(ids)-1])
}

func showJSON(w io.Writer, j *journal.Journal) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(struct {
		ID      string           `json:"id"`
		State   string           `json:"state"`
		Step    string           `json:"step"`
		Percent uint32           `json:"percent"`
		Message string           `json:"message"`
		Records []journal.Record `json:"records"`
	}{j.ID(), operation.StateName(engine.Past(j).GetState()), engine.Past(j).GetStep(), engine.Past(j).GetPercent(), engine.Past(j).GetMessage(), j.Records()})
}

func showTable(w io.Writer, j *journal.Journal) error {
	past := engine.Past(j)
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintf(table, "OPERATION\t%s\nSTATE\t%s, %d%%\n", j.ID(), operation.StateName(past.GetState()), past.GetPercent())
	if past.GetMessage() != "" {
		_, _ = fmt.Fprintf(table, "MESSAGE\t%s\n", past.GetMessage())
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, _ = fmt.Fprintln(w)
	_, _ = fmt.Fprintln(table, "TIME\tRECORD\tSTEP\tTRY\tMESSAGE")
	for _, record := range j.Records() {
		try := ""
		if record.Attempt > 0 {
			try = fmt.Sprint(record.Attempt)
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", record.At.UTC().Format(time.RFC3339), record.Kind, record.Step, try, record.Message)
	}
	return table.Flush()
}
