// Command make writes the table of facts from a folder of recorded runs of the real nodeadm:
//
//	go run ./test/fakenodeadm/facts/make FOLDER > test/fakenodeadm/testdata/facts.json
//
// It is needed only when new recordings exist; the tests read the table alone.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"hybridagent/test/fakenodeadm/facts"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: make FOLDER-WITH-TRANSCRIPTS")
		os.Exit(2)
	}
	table, err := facts.FromFolder(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	enc := json.NewEncoder(os.Stdout)
	enc.SetIndent("", " ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(table); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
