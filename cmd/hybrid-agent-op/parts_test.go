package main

import (
	"net"
	"testing"

	"go.uber.org/zap/zaptest"

	"hybridagent/agent/config"
	"hybridagent/agent/store"
)

// buildParts wires a site with a socket as systemd would pass it.
func buildParts(t *testing.T, s *site, passed map[string][]net.Listener) *parts {
	t.Helper()
	cfg, err := config.Load(s.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := prepareState(cfg.Paths.OpState, nil); err != nil {
		t.Fatal(err)
	}
	lock, err := store.Acquire(cfg.Paths.OpState)
	if err != nil {
		t.Fatal(err)
	}
	p := &parts{log: zaptest.NewLogger(t), lock: lock}
	if err := p.wire(t.Context(), cfg, serveFlags{runner: "direct"}, nil, passed); err != nil {
		t.Fatal(err)
	}
	return p
}
