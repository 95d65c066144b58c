package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"hybridagent/test/fakenodeadm/kubelet"
)

// The checks that upgrade and uninstall make with kubelet's own kubeconfig.

// nodeAPI is the node's own view of the Kubernetes API.
type nodeAPI struct {
	*run
	name   string
	client *kubelet.Client
}

// nodeAPI finds the node's name in kubelet's configuration; an empty file makes the real program dereference nil.
func (r *run) nodeAPI() (*nodeAPI, error) {
	raw, err := os.ReadFile(r.path(kubeletDir + "/config.json"))
	if err != nil {
		return nil, err
	}
	var cfg struct{ ProviderID string }
	if err := json.Unmarshal(raw, &cfg); err != nil && len(raw) > 0 {
		return nil, fmt.Errorf("error unmarshaling kubelet config: %w", err) // a cut-off file: a guess, no recording
	}
	if cfg.ProviderID == "" {
		return nil, errPanic
	}
	client, err := kubelet.NewClient(r.Root, r.path(kubelet.KubeconfigPath), r.Env, userAgent)
	if err != nil {
		return nil, err
	}
	return &nodeAPI{r, cfg.ProviderID[strings.LastIndex(cfg.ProviderID, "/")+1:], client}, nil
}

// nodeFree refuses a node with pods other than those of DaemonSets, finished ones included, and one that is schedulable. The two
// callers are the places in the real program that log the two checks.
func (r *run) nodeFree(ctx context.Context, o options, drainedAt, cordonedAt string) error {
	api, err := r.nodeAPI()
	if err != nil {
		return err
	}
	if !slices.Contains(o.skips, "pod-validation") {
		r.log.info(drainedAt, "Validating if node has been drained...")
		if err := r.phase(ctx, "drained"); err != nil {
			return err
		}
		if err := api.drained(ctx); err != nil {
			return err
		}
	}
	if slices.Contains(o.skips, "node-validation") {
		return nil
	}
	r.log.info(cordonedAt, "Validating if node has been marked unschedulable...")
	if err := r.phase(ctx, "cordoned"); err != nil {
		return err
	}
	return api.cordoned(ctx)
}

func (n *nodeAPI) cordoned(ctx context.Context) error {
	var node struct {
		Spec struct{ Unschedulable bool }
	}
	if err := n.getRetrying(ctx, "/api/v1/nodes/"+n.name, &node); err != nil {
		return fmt.Errorf("getting node %s: node not initialized: %w", n.name, err)
	}
	if !node.Spec.Unschedulable {
		return errors.New("please drain or cordon node to mark it unschedulable or use --skip node-validation: node is schedulable")
	}
	return nil
}

func (n *nodeAPI) drained(ctx context.Context) error {
	var pods struct {
		Items []struct {
			Metadata struct {
				OwnerReferences []struct{ Kind string }
			}
		}
	}
	path := "/api/v1/pods?fieldSelector=" + url.QueryEscape("spec.nodeName="+n.name)
	if err := n.getRetrying(ctx, path, &pods); err != nil {
		return fmt.Errorf("validating if node has been drained: getting pods for node %s: listing all pods running on the node: %w", n.name, err)
	}
	for _, pod := range pods.Items {
		if owners := pod.Metadata.OwnerReferences; len(owners) == 0 || owners[0].Kind != "DaemonSet" {
			return errors.New("only static pods and pods controlled by daemon-sets can be running on the node. " +
				"Please move pods to different node or use --skip pod-validation")
		}
	}
	return nil
}

// initialized wants the Node to exist.
func (r *run) initialized(ctx context.Context) error {
	r.log.info("upgrade/upgrade.go:124", "Validating if node has initialized")
	if err := r.phase(ctx, "initialized"); err != nil {
		return err
	}
	api, err := r.nodeAPI()
	if errors.Is(err, errPanic) {
		return err
	}
	if err == nil {
		err = api.getRetrying(ctx, "/api/v1/nodes/"+api.name, &struct{}{})
	}
	if err != nil {
		return fmt.Errorf("node not initialized. Please use nodeadm init command to bootstrap a node. err: %w", err)
	}
	return nil
}

// Four attempts of at most 30 s, with pauses of 1, 2 and 4 s, in 120 s altogether: a refused connection is given up after 7 s,
// one that hangs after 120 s.
const (
	getAttempts = 4
	getTimeout  = 30 * time.Second
	getTotal    = 120 * time.Second
)

// The lab's time scale must not make a request's limit shorter than a real plugin and a real handshake need.
const leastGetTimeout = 500 * time.Millisecond

func (n *nodeAPI) getRetrying(ctx context.Context, path string, into any) error {
	timeout := max(n.Settings.Scale(getTimeout), leastGetTimeout)
	end := time.Now().Add(getTotal / getTimeout * timeout)
	pause := time.Second
	for attempt := 1; ; attempt++ {
		err := getJSON(ctx, min(timeout, time.Until(end)), n.client, path, into)
		switch {
		case err == nil || ctx.Err() != nil:
			return err
		case attempt == getAttempts || !time.Now().Before(end):
			return fmt.Errorf("timed out waiting for the condition while retrying: %w", err)
		}
		if !n.sleep(ctx, pause) {
			return ctx.Err()
		}
		pause *= 2
	}
}

func getJSON(ctx context.Context, timeout time.Duration, client *kubelet.Client, path string, into any) error {
	timed, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	resp, err := client.Do(timed, http.MethodGet, path, "", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the Kubernetes API answered %s", resp.Status)
	}
	return json.Unmarshal(raw, into)
}
