package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"hybridagent/test/bench/floor"
)

// agentHostID is the ID of the host that runs our agent.
const agentHostID = "bench-host"

// agent is the real hybrid-agent with a state directory of its own, in a host.
type agent struct {
	host   *host
	binary string
	config string
}

// newAgent builds the agent and writes what an installed one finds on disk.
func newAgent(ctx context.Context, e *env, h *host, pin string) (*agent, error) {
	binary, err := e.build(ctx, "hybridagent/cmd/hybrid-agent")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(e.dir, "agent-")
	if err != nil {
		return nil, err
	}
	a := &agent{host: h, binary: binary, config: filepath.Join(dir, "config.yaml")}
	config := fmt.Sprintf(`plane:
  address: %s
  caPin: %s
enrollment:
  tokenFile: %s/token
log: {level: error}
paths:
  state: %[3]s/state
  opState: %[3]s/op
  socket: %[3]s/agent.sock
  opSocket: %[3]s/op.sock
  root: %[3]s/root
`, planeAddress, pin, dir)
	id := fmt.Sprintf(`{"schema":1,"id":%q,"source":"name","fingerprint":{}}`, agentHostID)
	return a, errors.Join(
		os.Mkdir(filepath.Join(dir, "state"), 0o700), os.Mkdir(filepath.Join(dir, "op"), 0o750),
		os.Mkdir(filepath.Join(dir, "root"), 0o755),
		os.WriteFile(a.config, []byte(config), 0o600),
		os.WriteFile(filepath.Join(dir, "token"), []byte("any"), 0o600),
		os.WriteFile(filepath.Join(dir, "op", "host-id"), []byte(id), 0o640),
	)
}

// start runs the agent.
func (a *agent) start(ctx context.Context) (*child, error) {
	return a.host.start(ctx, a.binary, "run", "--config", a.config)
}

// vpcRoute is the n-th of two routes that the plane pushes in turn.
func vpcRoute(n, link int, protocol uint8) floor.Route {
	return floor.Route{
		Dst: [4]byte{10, byte(100 + n%2), 0, 0}, Bits: 16, Gateway: vpnServer(), Source: nodeIP(), Link: link, Protocol: protocol,
	}
}
