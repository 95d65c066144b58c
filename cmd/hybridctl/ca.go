package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/spf13/cobra"
)

func newCA(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ca",
		Short: "Show what hosts need to trust the plane",
		Args:  usage(cobra.NoArgs),
		RunE:  needSubcommand,
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "pin",
		Short: "Print the pin of the plane's CA, from the context file",
		Args:  usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			file, err := g.readContext()
			if err != nil {
				return err
			}
			cert, err := file.CACertificate()
			if err != nil {
				return usageError{err}
			}
			sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
			fmt.Fprintln(cmd.OutOrStdout(), "sha256:"+hex.EncodeToString(sum[:]))
			return nil
		},
	})
	return cmd
}
