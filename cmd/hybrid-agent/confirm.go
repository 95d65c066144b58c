package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// errDeclined is the answer no; its exit code is 1.
var errDeclined = errors.New("nothing was done")

// confirm shows what is about to be done and asks. Where nobody can answer, --yes
// must have been given.
func confirm(cmd *cobra.Command, yes bool, text, question string) error {
	for line := range strings.Lines(text) {
		for _, part := range wrap(line, width) {
			_, _ = fmt.Fprintln(cmd.OutOrStdout(), part)
		}
	}
	if yes {
		return nil
	}
	if file, ok := cmd.InOrStdin().(*os.File); !ok || !term.IsTerminal(int(file.Fd())) {
		return usage(errors.New("nobody can be asked: call it with --yes, or at a terminal"))
	}
	return answered(cmd.InOrStdin(), cmd.OutOrStdout(), question)
}

// answered asks a question; anything but yes is no.
func answered(in io.Reader, out io.Writer, question string) error {
	_, _ = fmt.Fprintf(out, "%s [y/N] ", question)
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("cannot read the answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return &exitError{exitUnhealthy, errDeclined}
}
