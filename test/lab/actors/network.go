package actors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// Outcome is how a program that an operator ran has ended.
type Outcome struct {
	// Code is its exit code.
	Code int
	// Text is all it said, with the line breaks of its 80 columns taken out.
	Text string
}

// Try runs hybridctl and takes any exit code for an answer; the error says that it could not be run.
func (o *Operator) Try(ctx context.Context, args ...string) (Outcome, error) {
	out, err := o.host.Command(ctx, o.plane.bin.Ctl, append([]string{"--context", o.plane.Context}, args...)...).CombinedOutput()
	outcome := Outcome{Text: strings.Join(strings.Fields(out), " ")}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return outcome, err
	}
	if exit != nil {
		outcome.Code = exit.ExitCode()
	}
	return outcome, nil
}

// VPNServers are a host's VPN servers by the specification of its node pool.
func (o *Operator) VPNServers(ctx context.Context, hostID string) ([]string, error) {
	out, err := o.Run(ctx, "get", "pools", PoolName, "-o", "json")
	if err != nil {
		return nil, err
	}
	var pool struct {
		Spec struct {
			Hosts []struct {
				HostID     string   `json:"hostId"`
				VPNServers []string `json:"vpnServers"`
			} `json:"hosts"`
		} `json:"spec"`
	}
	if err := json.Unmarshal([]byte(out), &pool); err != nil {
		return nil, fmt.Errorf("cannot read hybridctl's node pool: %w", err)
	}
	for _, host := range pool.Spec.Hosts {
		if host.HostID == hostID {
			return host.VPNServers, nil
		}
	}
	return nil, fmt.Errorf("host %s is not in node pool %s", hostID, PoolName)
}
