package fleet

import (
	"errors"
	"strings"
)

// forbidden in host IDs; with spaces and control characters, see CheckHostID.
const forbiddenInHostID = "/?#&+%,$~!@*(){}|=;:<>'.^\"`"

const maxHostIDBytes = 128

// CheckHostID refuses what cannot be a host ID.
func CheckHostID(id string) error {
	switch {
	case id == "":
		return errors.New("the host ID is empty")
	case len(id) > maxHostIDBytes:
		return errors.New("the host ID has more than 128 characters")
	case strings.ContainsAny(id, forbiddenInHostID):
		return errors.New("host ID " + id + " contains one of " + forbiddenInHostID)
	}
	for _, r := range id {
		if r <= ' ' || r > '~' {
			return errors.New("the host ID contains a space or a character that is not printable ASCII")
		}
	}
	return nil
}
