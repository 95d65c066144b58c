package actors

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"hybridagent/test/lab"
)

// Operator works with hybridctl, from the plane's host.
type Operator struct {
	plane *Plane
	host  *lab.Host
	// Files is the folder with the operator's resource files.
	Files string
}

// NewOperator makes the operator of a plane.
func NewOperator(plane *Plane) (*Operator, error) {
	host := plane.site.Host("plane")
	files := filepath.Join(host.Folder, "resources")
	if err := os.MkdirAll(files, 0o755); err != nil {
		return nil, fmt.Errorf("cannot make the operator's folder: %w", err)
	}
	return &Operator{plane: plane, host: host, Files: files}, nil
}

// Run runs hybridctl and returns its standard output.
func (o *Operator) Run(ctx context.Context, args ...string) (string, error) {
	return o.host.Exec(ctx, o.plane.bin.Ctl, append([]string{"--context", o.plane.Context}, args...)...)
}

// Apply writes resources into a file of the operator's folder and applies it.
func (o *Operator) Apply(ctx context.Context, name, yaml string) error {
	path := filepath.Join(o.Files, name)
	if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
		return fmt.Errorf("cannot write %s: %w", name, err)
	}
	_, err := o.Run(ctx, "apply", "-f", path)
	return err
}

// Token makes an enrolment token for that many hosts.
func (o *Operator) Token(ctx context.Context, uses int) (string, error) {
	out, err := o.Run(ctx, "token", "create", "--uses", fmt.Sprint(uses), "--ttl", "1h")
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(out), nil
}

// NIC is a host's network interface as the operator sees it.
type NIC struct {
	Name      string   `json:"name"`
	Addresses []string `json:"addresses"`
	Candidate bool     `json:"candidate"`
}

// Condition is one condition of a host.
type Condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// EdgeHost is a host as the operator sees it.
type EdgeHost struct {
	Metadata struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Status struct {
		Connected bool   `json:"connected"`
		Pool      string `json:"pool"`
		Inventory struct {
			Hostname string `json:"hostname"`
			NICs     []NIC  `json:"nics"`
		} `json:"inventory"`
		Host struct {
			NIC    string   `json:"nic"`
			NodeIP string   `json:"nodeIp"`
			Routes []string `json:"routes"`
		} `json:"host"`
		Operation struct {
			State   string `json:"state"`
			Step    string `json:"step"`
			Message string `json:"message"`
		} `json:"operation"`
		Conditions []Condition `json:"conditions"`
	} `json:"status"`
}

// Pool is a node pool as the operator sees it.
type Pool struct {
	Status struct {
		State     string   `json:"state"`
		Hosts     int      `json:"hosts"`
		Ready     int      `json:"ready"`
		Connected int      `json:"connected"`
		Problems  []string `json:"problems"`
		Rollout   struct {
			State   string `json:"state"`
			Message string `json:"message"`
		} `json:"rollout"`
	} `json:"status"`
}

// Hosts lists the enrolled hosts by their host name, which the demo's hosts all report.
func (o *Operator) Hosts(ctx context.Context) (map[string]EdgeHost, error) {
	out, err := o.Run(ctx, "get", "hosts", "-o", "json")
	if err != nil {
		return nil, err
	}
	var list struct {
		Items []EdgeHost `json:"items"`
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return nil, fmt.Errorf("cannot read hybridctl's list of hosts: %w", err)
	}
	hosts := make(map[string]EdgeHost)
	for _, host := range list.Items {
		hosts[host.Status.Inventory.Hostname] = host
	}
	return hosts, nil
}

// Pool reads a node pool.
func (o *Operator) Pool(ctx context.Context, name string) (Pool, error) {
	var pool Pool
	out, err := o.Run(ctx, "get", "pools", name, "-o", "json")
	if err != nil {
		return pool, err
	}
	if err := json.Unmarshal([]byte(out), &pool); err != nil {
		return pool, fmt.Errorf("cannot read hybridctl's node pool: %w", err)
	}
	return pool, nil
}
