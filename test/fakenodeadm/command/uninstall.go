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

// uninstall checks that the node is drained and cordoned, but only while kubelet runs, and takes the components away. It leaves
// the AWS profile, sysctl and module files, /var/lib/kubelet and the dangling link of kubelet's unit.
func (r *run) uninstall(ctx context.Context, o options) error {
	r.log.info("uninstall/uninstall.go:81", "Loading installed components")
	installed, err := r.tracker()
	if err != nil {
		return err
	}
	if !installed {
		r.log.info("uninstall/uninstall.go:84", "Nodeadm components are already uninstalled")
		return nil
	}
	r.log.info("uninstall/uninstall.go:90", "Creating daemon manager...")
	if r.Units.Running("kubelet") {
		if err := r.nodeFree(ctx, o); err != nil {
			return err
		}
	}
	r.log.info("uninstall/uninstall.go:121", "Creating package manager...")
	r.log.info("uninstall/uninstall.go:123", "Configuring package manager with", "containerd source", "none")
	if err := r.removeComponents(ctx); err != nil {
		return err
	}
	r.log.info("flows/uninstall.go:54", "Finished uninstallation tasks...")
	if !o.force {
		return nil
	}
	r.log.info("uninstall/uninstall.go:142", "Force mode enabled, cleaning up additional directories...")
	for _, dir := range []string{"/var/lib/cni", "/etc/cni/net.d"} {
		r.log.info("cleanup/cleanup.go:58", "Removing directory", "path", dir)
		if err := os.RemoveAll(r.path(dir)); err != nil {
			return err
		}
	}
	return nil
}

// nodeFree refuses a node with pods other than those of DaemonSets, finished ones included, and one that is schedulable.
func (r *run) nodeFree(ctx context.Context, o options) error {
	name, err := r.nodeName()
	if err != nil {
		return err
	}
	client, err := kubelet.NewClient(r.Root, r.path(kubelet.KubeconfigPath), r.Env, userAgent)
	if err != nil {
		return err
	}
	if !slices.Contains(o.skips, "pod-validation") {
		r.log.info("uninstall/uninstall.go:104", "Validating if node has been drained...")
		if err := r.drained(ctx, client, name); err != nil {
			return err
		}
	}
	if slices.Contains(o.skips, "node-validation") {
		return nil
	}
	r.log.info("uninstall/uninstall.go:113", "Validating if node has been marked unschedulable...")
	var node struct {
		Spec struct{ Unschedulable bool }
	}
	if err := r.getRetrying(ctx, client, "/api/v1/nodes/"+name, &node); err != nil {
		return fmt.Errorf("getting node %s: node not initialized: %w", name, err)
	}
	if !node.Spec.Unschedulable {
		return errors.New("please drain or cordon node to mark it unschedulable or use --skip node-validation: node is schedulable")
	}
	return nil
}

// nodeName comes from kubelet's configuration; an empty file makes the real program dereference nil.
func (r *run) nodeName() (string, error) {
	raw, err := os.ReadFile(r.path(kubeletDir + "/config.json"))
	if err != nil {
		return "", err
	}
	var cfg struct{ ProviderID string }
	if err := json.Unmarshal(raw, &cfg); err != nil || cfg.ProviderID == "" {
		return "", errPanic
	}
	return cfg.ProviderID[strings.LastIndex(cfg.ProviderID, "/")+1:], nil
}

func (r *run) drained(ctx context.Context, client *kubelet.Client, name string) error {
	var pods struct {
		Items []struct {
			Metadata struct {
				OwnerReferences []struct{ Kind string }
			}
		}
	}
	path := "/api/v1/pods?fieldSelector=" + url.QueryEscape("spec.nodeName="+name)
	if err := r.getRetrying(ctx, client, path, &pods); err != nil {
		return fmt.Errorf("validating if node has been drained: getting pods for node %s: listing all pods running on the node: %w", name, err)
	}
	for _, pod := range pods.Items {
		if owners := pod.Metadata.OwnerReferences; len(owners) == 0 || owners[0].Kind != "DaemonSet" {
			return errors.New("only static pods and pods controlled by daemon-sets can be running on the node. " +
				"Please move pods to different node or use --skip pod-validation")
		}
	}
	return nil
}

// getRetrying asks for about seven seconds of lab time.
func (r *run) getRetrying(ctx context.Context, client *kubelet.Client, path string, into any) error {
	end := time.Now().Add(r.Settings.Scale(7 * time.Second))
	for {
		err := getJSON(ctx, client, path, into)
		if err == nil {
			return nil
		}
		if !time.Now().Before(end) {
			return fmt.Errorf("timed out waiting for the condition while retrying: %w", err)
		}
		if !r.sleep(ctx, time.Second) {
			return ctx.Err()
		}
	}
}

func getJSON(ctx context.Context, client *kubelet.Client, path string, into any) error {
	resp, err := client.Do(ctx, http.MethodGet, path, "", nil)
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

func (r *run) removeComponents(ctx context.Context) error {
	updater := "/etc/systemd/system/aws_signing_helper_update.service"
	for _, c := range []struct {
		caller, msg, phase, unit string
		paths                    []string
	}{
		{"flows/uninstall.go:61", "Uninstalling kubelet...", "kubelet", "kubelet",
			[]string{kubelet.BinPath, "/etc/systemd/system/kubelet.service", kubelet.KubeconfigPath, "/etc/kubernetes"}},
		{"flows/uninstall.go:104", "Removing aws_signing_helper_update daemon...", "aws_signing_helper_update", "aws_signing_helper_update", []string{updater}},
		{"flows/uninstall.go:126", "Uninstalling kubectl...", "kubectl", "", []string{"/usr/local/bin/kubectl"}},
		{"flows/uninstall.go:132", "Uninstalling cni-plugins...", "cni-plugins", "", []string{"/opt/cni"}},
		{"flows/uninstall.go:138", "Uninstalling IAM authenticator...", "aws-iam-authenticator", "", []string{"/usr/local/bin/aws-iam-authenticator"}},
		{"flows/uninstall.go:144", "Uninstalling AWS signing helper...", "aws_signing_helper", "", []string{signingHelperPath}},
		{"flows/uninstall.go:150", "Uninstalling image credential provider...", "image-credential-provider", "", []string{"/etc/eks", "/opt/nodeadm"}},
	} {
		r.log.info(c.caller, c.msg)
		if err := r.phase(ctx, c.phase); err != nil {
			return err
		}
		if c.unit != "" && r.Units.Running(c.unit) {
			if err := r.Units.Stop(c.unit); err != nil {
				return err
			}
		}
		for _, path := range c.paths {
			if err := os.RemoveAll(r.path(path)); err != nil {
				return err
			}
		}
	}
	return nil
}
