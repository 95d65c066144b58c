package command

import (
	"context"
	"os"
	"strings"

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
	if installed == nil {
		r.log.info("uninstall/uninstall.go:84", "Nodeadm components are already uninstalled")
		return nil
	}
	r.log.info("uninstall/uninstall.go:90", "Creating daemon manager...")
	if r.Units.Running("kubelet") {
		if err := r.nodeFree(ctx, o, "uninstall/uninstall.go:104", "uninstall/uninstall.go:113"); err != nil {
			return err
		}
	}
	r.log.info("uninstall/uninstall.go:121", "Creating package manager...")
	r.log.info("uninstall/uninstall.go:123", "Configuring package manager with", "containerd source", "none")
	if err := r.removeComponents(ctx, installed); err != nil {
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

func (r *run) removeComponents(ctx context.Context, installed *tracked) error {
	updater := "/etc/systemd/system/aws_signing_helper_update.service"
	for _, c := range []struct {
		caller, msg, phase, unit string
		paths                    []string
	}{
		{"flows/uninstall.go:61", "Uninstalling kubelet...", "kubelet", "kubelet",
			[]string{kubelet.BinPath, "/etc/systemd/system/kubelet.service", kubelet.KubeconfigPath, "/etc/kubernetes"}},
		{phase: "ssm"},
		{"flows/uninstall.go:104", "Removing aws_signing_helper_update daemon...", "aws_signing_helper_update", "aws_signing_helper_update", []string{updater}},
		{"flows/uninstall.go:126", "Uninstalling kubectl...", "kubectl", "", []string{"/usr/local/bin/kubectl"}},
		{"flows/uninstall.go:132", "Uninstalling cni-plugins...", "cni-plugins", "", []string{"/opt/cni"}},
		{"flows/uninstall.go:138", "Uninstalling IAM authenticator...", "aws-iam-authenticator", "", []string{"/usr/local/bin/aws-iam-authenticator"}},
		{"flows/uninstall.go:144", "Uninstalling AWS signing helper...", "aws_signing_helper", "", []string{signingHelperPath}},
		{"flows/uninstall.go:150", "Uninstalling image credential provider...", "image-credential-provider", "", []string{"/etc/eks", "/opt/nodeadm"}},
	} {
		switch rolesAnywhere := strings.HasPrefix(c.phase, "aws_signing_helper"); {
		case rolesAnywhere && !installed.IamRolesAnywhere:
			continue
		case c.phase == "ssm":
			if installed.Ssm {
				if err := r.uninstallSSM(ctx); err != nil {
					return err
				}
			}
			continue
		}
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
			if err := r.removeAll(path); err != nil {
				return err
			}
		}
	}
	return nil
}
