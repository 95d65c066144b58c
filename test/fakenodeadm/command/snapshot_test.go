package command_test

import "hybridagent/test/fakenodeadm/facts"

// snapshot notes every path of the host but the lab's own.
func (h *host) snapshot() facts.Snapshot {
	s, err := facts.Take(h.root, []string{"/"}, func(path string) bool { return path == "/lab" || path == "/run" })
	h.must(err)
	return s
}
