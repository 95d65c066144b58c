package systemd

import (
	"fmt"

	"github.com/coreos/go-systemd/v22/journal"
)

// Journal reports whether the host has a journal to write to.
func Journal() bool { return journal.Enabled() }

// Log writes one entry to the journal at priority info, with fields beside the
// message (journal fields are upper case). Without a journal it does nothing.
func Log(message string, fields map[string]string) error {
	if !journal.Enabled() {
		return nil
	}
	if err := journal.Send(message, journal.PriInfo, fields); err != nil {
		return fmt.Errorf("cannot write to the journal: %w", err)
	}
	return nil
}
