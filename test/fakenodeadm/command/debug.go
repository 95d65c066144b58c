package command

import (
	"context"
	"fmt"
)

// debug prints a short tree of findings on stdout. The real one's checks and words are other and more; no run was recorded. It knows
// the node's configuration, its programs, the Kubernetes API and the Node's Ready condition.
func (r *run) debug(ctx context.Context, o options) error {
	if o.configSource == "" {
		return usageError{mainHelp, configRequired}
	}
	fmt.Fprintln(r.Stdout, "nodeadm debug (stand-in)")
	cfg, err := r.loadConfig(o.configSource)
	if err == nil {
		cfg.defaults()
		err = r.validate(cfg)
	}
	r.finding("Node configuration", err)
	for _, path := range []string{"/usr/bin/kubelet", "/usr/bin/containerd", "/usr/local/bin/aws-iam-authenticator"} {
		var missing error
		if !r.exists(path) {
			missing = fmt.Errorf("%s is missing", path)
		}
		r.finding(path, missing)
	}
	if err := r.phase(ctx, "debug-node"); err != nil {
		return err
	}
	r.finding("Node is Ready", r.nodeReady(ctx))
	return nil
}

func (r *run) finding(what string, err error) {
	if err == nil {
		fmt.Fprintf(r.Stdout, "  ✓ %s\n", what)
		return
	}
	fmt.Fprintf(r.Stdout, "  ✗ %s\n    └─ %v\n", what, err)
}

func (r *run) nodeReady(ctx context.Context) error {
	api, err := r.nodeAPI()
	if err != nil {
		return err
	}
	var node struct {
		Status struct {
			Conditions []struct{ Type, Status, Reason string }
		}
	}
	if err := api.getRetrying(ctx, "/api/v1/nodes/"+api.name, &node); err != nil {
		return err
	}
	for _, c := range node.Status.Conditions {
		if c.Type == "Ready" && c.Status != "True" {
			return fmt.Errorf("node %s is not ready: %s", api.name, c.Reason)
		}
	}
	return nil
}
