package command

import (
	"context"
	"errors"
	"fmt"
)

// component is one artifact of an install, in the order of the real program.
type component struct {
	phase    string
	artifact string
	say      string // the word in "Installing …..."
	sayAt    string
	// label is the word in error texts, retryAt the caller of the retry message.
	label, retryAt string
	path           string
}

func (c component) download() download {
	return download{source: "getting " + c.label + " source", label: c.label, path: c.path}
}

func components() []component {
	return []component{
		{"kubelet", "kubelet", "kubelet", "flows/install.go:133", "kubelet", "kubelet/install.go:73", "/usr/bin/kubelet"},
		{"kubectl", "kubectl", "kubectl", "flows/install.go:142", "kubectl", "kubectl/install.go:57", "/usr/local/bin/kubectl"},
		{"cni-plugins", "cni-plugins", "cni-plugins", "flows/install.go:151", "cni-plugins", "cni/install.go:60", "/opt/cni/plugins/cni-plugins.tgz"},
		{"image-credential-provider", "ecr-credential-provider", "image credential provider", "flows/install.go:160", "image-credential-provider",
			"imagecredentialprovider/install.go:58", "/etc/eks/image-credential-provider/ecr-credential-provider"},
		{"aws-iam-authenticator", "aws-iam-authenticator", "AWS IAM authenticator", "flows/install.go:169", "aws-iam-authenticator",
			"iamauthenticator/install.go:57", "/usr/local/bin/aws-iam-authenticator"},
	}
}

// install downloads and places every component again, whatever is there, and writes the tracker last.
func (r *run) install(ctx context.Context, o options) error {
	if err := r.checkInstall(o); err != nil {
		return err
	}
	if err := r.phase(ctx, "manifest"); err != nil {
		return err
	}
	r.log.info("install/install.go:116", "Using manifest override", "manifest", o.manifest)
	m, err := r.readManifest(o.manifest)
	if err != nil {
		return err
	}
	version, artifacts, err := m.release(o.positional[0])
	if err != nil {
		return err
	}
	r.log.info("install/install.go:121", "Using Kubernetes version from manifest", "version", version)
	if _, err := r.tracker(); err != nil {
		return err
	}
	if o.privateMode {
		r.log.info("flows/install.go:43", "Private mode: Skipping OS package installation")
		r.log.info("flows/install.go:44", "Installing credential processes and EKS artifacts from manifest...")
	} else if err := r.installPackages(o.containerdSource); err != nil {
		return err
	}
	timed, cancel := context.WithTimeout(ctx, r.Settings.Scale(o.timeout))
	defer cancel()
	if err := r.installProvider(timed, o, m); err != nil {
		return err
	}
	for _, c := range components() {
		if err := r.installComponent(timed, c, artifacts); err != nil {
			return err
		}
	}
	if err := r.phase(ctx, "tracker"); err != nil {
		return err
	}
	if err := r.write(trackerPath, o.tracked().text(), 0o644, 0o644); err != nil {
		return err
	}
	if o.privateMode {
		r.log.info("flows/install.go:55", "Private mode install completed")
	}
	return nil
}

// checkInstall refuses what no recorded run covers.
func (r *run) checkInstall(o options) error {
	switch {
	case len(o.positional) == 0:
		return usageError{installHelp, "Required positional of subcommand install named KUBERNETES_VERSION not found at position 1"}
	case o.provider == "":
		return usageError{installHelp, "--credential-provider is a required flag. Allowed values are ssm & iam-ra"}
	case o.provider != "iam-ra" && o.provider != providerSSM:
		return fmt.Errorf("invalid credential provider: %s", o.provider)
	case o.containerdSource != "none" && o.containerdSource != "distro":
		return fmt.Errorf("this stand-in installs with --containerd-source none or distro only, not %q", o.containerdSource)
	}
	return nil
}

func (r *run) installProvider(ctx context.Context, o options, m *manifest) error {
	if o.provider == providerSSM {
		return r.installSSM(ctx, o.region)
	}
	return r.installSigningHelper(ctx, m)
}

// tracked is what the finished install writes down.
func (o options) tracked() tracked {
	return tracked{Containerd: o.containerdSource, Iptables: !o.privateMode, IamRolesAnywhere: o.provider != providerSSM, Ssm: o.provider == providerSSM}
}

const signingHelperPath = "/usr/local/bin/aws_signing_helper"

func signingHelperDownload() download {
	return download{source: "getting source for aws_signing_helper", label: "aws_signing_helper", path: signingHelperPath}
}

func (r *run) installSigningHelper(ctx context.Context, m *manifest) error {
	r.log.info("flows/install.go:102", "Installing AWS signing helper...")
	if err := r.phase(ctx, "aws_signing_helper"); err != nil {
		return err
	}
	a, err := m.signingHelper()
	if err != nil {
		return err
	}
	d := signingHelperDownload()
	err = r.retrying(ctx, "iamrolesanywhere/install.go:64", "aws_signing_helper", func() error { return r.place(ctx, a, d) })
	if err != nil {
		return stackf("installing aws_signing_helper: downloading aws_signing_helper: %w", err)
	}
	return nil
}

func (r *run) installComponent(ctx context.Context, c component, artifacts []artifact) error {
	r.log.info(c.sayAt, "Installing "+c.say+"...")
	if err := r.phase(ctx, c.phase); err != nil {
		return err
	}
	a, err := find(artifacts, c.artifact)
	if err != nil {
		return err
	}
	d := c.download()
	err = r.retrying(ctx, c.retryAt, c.label, func() error {
		if err := r.place(ctx, a, d); err != nil {
			return err
		}
		switch c.phase {
		case "kubelet":
			return r.write("/etc/systemd/system/kubelet.service", kubeletUnit, 0o644, 0o755)
		case "cni-plugins":
			return r.unpackCNI(c.path)
		}
		return nil
	})
	if err != nil {
		return stackf("installing %s: %w", c.label, err)
	}
	return nil
}

// retrying tries three times without a pause, as the real program does; each failure is logged.
func (r *run) retrying(ctx context.Context, caller, label string, try func() error) error {
	var err error
	for range 3 {
		if err = try(); err == nil || errors.Is(err, errKill) {
			return err
		}
		kv := fields{"error", err.Error(), "errorVerbose", err.Error() + "\nstand-in.frames"}
		r.log.line("error", caller, fmt.Sprintf("Downloading %s failed. Retrying...", label), kv)
	}
	return err
}
