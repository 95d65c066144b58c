package actors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hybridagent/test/lab"
)

// Edge is an edge host of the demo with the product's two programs on it, run without systemd.
type Edge struct {
	Host *lab.Host
	// Op and Agent are the running programs, nil before their start.
	Op, Agent *lab.Process

	// OpConfig is the configuration that root's program gets; the daemon's unless somebody sabotages it.
	OpConfig string
}

const (
	configPath = "/etc/hybrid-agent/config.yaml"
	opBinary   = "/usr/libexec/hybrid-agent/hybrid-agent-op"
)

// EdgeFiles are the programs as an edge host has them.
func EdgeFiles(bin Binaries) map[string]string {
	return map[string]string{"/usr/bin/hybrid-agent": bin.Agent, opBinary: bin.Op, "/usr/local/bin/nodeadm": bin.Nodeadm}
}

// EdgeUsers are the users that the package would make.
func EdgeUsers() []lab.User {
	return []lab.User{
		{Name: "hybrid-agent", ID: AgentUID, Groups: []string{"hybrid-agent-status"}},
		{Name: "hybrid-agent-status", ID: StatusGID, NoUser: true},
	}
}

// Config is the content of config.yaml for a host of the lab. extra is appended: further top-level keys.
func Config(caPin, extra string) string {
	return fmt.Sprintf(`plane:
  address: %s:%s
  caPin: %s
nodeadm:
  manifest: file:///etc/hybrid-agent/manifest.yaml
  environment: {AWS_ENDPOINT_URL: "http://%s"}
%s`, lab.PlaneAddress, PlanePort, caPin, lab.AWSServices, extra)
}

// Prepare does what installing the package and the operator's hand do: folders, configuration, token.
func (e *Edge) Prepare(caPin, token string, manifest []byte, standIn StandInConfig) error {
	h := e.Host
	e.OpConfig = configPath
	fault, err := json.Marshal(standIn)
	if err != nil {
		return err
	}
	return errors.Join(
		h.Mkdir("/etc/hybrid-agent", 0o755, 0, 0),
		h.Mkdir("/run/hybrid-agent", 0o755, AgentUID, AgentUID),
		h.Mkdir("/run/hybrid-agent-op", 0o755, 0, 0),
		h.Mkdir("/var/lib/hybrid-agent", 0o700, AgentUID, AgentUID),
		h.Mkdir("/var/lib/hybrid-agent-op", 0o750, 0, AgentUID),
		h.WriteFile(configPath, []byte(Config(caPin, "")), 0o644, 0, 0),
		h.WriteFile("/etc/hybrid-agent/manifest.yaml", manifest, 0o644, 0, 0),
		h.WriteFile("/etc/hybrid-agent/enrollment-token", []byte(token+"\n"), 0o600, AgentUID, AgentUID),
		h.WriteFile("/run/hybrid-lab/fakenodeadm.json", fault, 0o644, 0, 0),
	)
}

// StandInConfig is what the nodeadm and kubelet stand-ins read on a host.
type StandInConfig struct {
	// Direct says that there is no systemd to start kubelet with.
	Direct bool `json:"direct,omitempty"`
	// TimeScale shortens nodeadm's own waits.
	TimeScale float64 `json:"timeScale,omitempty"`
	Kubelet   struct {
		// IgnoreNodeIP is the fault of the demo's node-ip break.
		IgnoreNodeIP bool `json:"ignoreNodeIP,omitempty"`
	} `json:"kubelet"`
}

// StartOp starts root's program.
func (e *Edge) StartOp() error {
	cmd := e.Host.Command(context.Background(), opBinary, "serve", "--config", e.OpConfig, "--runner", "direct")
	op, err := e.Host.Start("hybrid-agent-op", cmd)
	e.Op = op
	return err
}

// StartAgent starts the daemon as its own user with CAP_NET_ADMIN and no other privilege.
func (e *Edge) StartAgent() error {
	cmd := e.Host.Command(context.Background(), "hybrid-agent", "run", "--config", configPath)
	AsAgent(cmd.Cmd)
	cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_NET_ADMIN}
	agent, err := e.Host.Start("hybrid-agent", cmd)
	e.Agent = agent
	return err
}

// AsAgent lets a program run as the daemon's user, without any capability.
func AsAgent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: AgentUID, Gid: AgentUID, Groups: []uint32{StatusGID}},
	}
}

// Status is what hybrid-agent status shows.
type Status struct {
	HostID string `json:"host_id"`
	Plane  struct {
		Connected bool   `json:"connected"`
		LastError string `json:"last_error"`
	} `json:"plane"`
	Assignment struct {
		Generation string `json:"generation"`
		Pool       string `json:"pool"`
		FromCache  bool   `json:"from_cache"`
		Refusals   []struct {
			Field  string `json:"field"`
			Reason string `json:"reason"`
		} `json:"refusals"`
	} `json:"assignment"`
	Network struct {
		NIC       string   `json:"nic"`
		NICReason string   `json:"nic_reason"`
		NodeIP    string   `json:"node_ip"`
		VPNServer string   `json:"vpn_server"`
		Routes    []string `json:"routes"`
		Repairs   string   `json:"repairs"`
		LastRival string   `json:"last_rival"`
		Rules     []string `json:"rules"`
		// VPNServers are those of the network in force, Trial and RolledBack the changes that are tried and that were taken back last.
		VPNServers []struct {
			Address string `json:"address"`
			Active  bool   `json:"active"`
			OK      bool   `json:"ok"`
			Error   string `json:"error"`
		} `json:"vpn_servers"`
		Trial      *Trial `json:"trial"`
		RolledBack *Trial `json:"rolled_back"`
	} `json:"network"`
	PathSummary struct {
		Verdict      string `json:"verdict"`
		Segment      string `json:"segment"`
		Message      string `json:"message"`
		PathMTU      int    `json:"path_mtu"`
		MTUBlackHole bool   `json:"mtu_black_hole"`
		RouteMTU     int    `json:"route_mtu"`
	} `json:"path_summary"`
	Path []struct {
		Target string `json:"target"`
		OK     bool   `json:"ok"`
		Error  string `json:"error"`
	} `json:"path"`
	TimeServers []struct {
		Server string `json:"server"`
		OK     bool   `json:"ok"`
		Offset string `json:"offset"`
		Error  string `json:"error"`
	} `json:"time_servers"`
	ClockOffset string      `json:"clock_offset"`
	Conditions  []Condition `json:"conditions"`
	Operation   struct {
		State   string `json:"state"`
		Step    string `json:"step"`
		Message string `json:"message"`
	} `json:"operation"`
	Runner string `json:"runner"`
	Node   struct {
		Name       string `json:"name"`
		Ready      bool   `json:"ready"`
		InternalIP string `json:"internal_ip"`
	} `json:"node"`
}

// Trial is a change of a host's network that is not confirmed.
type Trial struct {
	Origin string `json:"origin"`
	Change string `json:"change"`
	Reason string `json:"reason"`
}

// Condition finds a condition by its type.
func (s Status) Condition(kind string) (Condition, error) {
	for _, c := range s.Conditions {
		if c.Type == kind {
			return c, nil
		}
	}
	return Condition{}, fmt.Errorf("no condition %s yet", kind)
}

// Holds is nil when the condition is True; else the error says what the condition says.
func (s Status) Holds(kind string) error {
	c, err := s.Condition(kind)
	if err != nil {
		return err
	}
	if c.Status != "CONDITION_STATUS_TRUE" {
		return fmt.Errorf("%s=%s/%s: %s", kind, strings.TrimPrefix(c.Status, "CONDITION_STATUS_"), c.Reason, c.Message)
	}
	return nil
}

// Status asks the daemon on its local socket, with hybrid-agent status.
func (e *Edge) Status(ctx context.Context) (Status, error) { return ReadStatus(ctx, e.Host.Command) }

// ReadStatus runs hybrid-agent status by a function that makes commands on the host. The program exits with 1 for a host that is not well:
// its answer counts all the same.
func ReadStatus(ctx context.Context, command func(ctx context.Context, name string, args ...string) *lab.Cmd) (Status, error) {
	var status Status
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := command(ctx, "hybrid-agent", "status", "-o", "json").Output()
	if err != nil && !strings.HasPrefix(strings.TrimSpace(out), "{") {
		return status, err
	}
	if err := json.Unmarshal([]byte(out), &status); err != nil {
		return status, fmt.Errorf("cannot read the status of the agent: %w", err)
	}
	return status, nil
}
