package command

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
)

// upgrade replaces the programs of an installed node, writes its configuration anew and restarts containerd and kubelet. It
// neither cordons nor drains, compares no versions and leaves kubelet's unit file as it is.
func (r *run) upgrade(ctx context.Context, o options) error {
	if len(o.positional) == 0 {
		return usageError{upgradeHelp, "Required positional of subcommand upgrade named KUBERNETES_VERSION not found at position 1"}
	}
	if o.configSource == "" {
		return usageError{upgradeHelp, configRequired}
	}
	r.log.info("upgrade/upgrade.go:111", "Loading installed components")
	installed, err := r.tracker()
	if err != nil {
		return err
	}
	if installed == nil {
		r.log.info("upgrade/upgrade.go:114", "No nodeadm components installed. Please use nodeadm install and nodeadm init commands to bootstrap a node")
		return nil
	}
	timed, cancel := context.WithTimeout(ctx, r.Settings.Scale(o.timeout))
	defer cancel()
	if !slices.Contains(o.skips, "init-validation") {
		if err := r.initialized(timed); err != nil {
			return err
		}
	}
	i, err := r.upgradeConfig(timed, o, installed)
	if err != nil {
		return err
	}
	m, artifacts, err := r.upgradeRelease(timed, o)
	if err != nil {
		return err
	}
	r.log.info("upgrade/upgrade.go:179", "Creating daemon manager...")
	if r.Units.Running("kubelet") {
		if err := r.nodeFree(timed, o, "upgrade/upgrade.go:193", "upgrade/upgrade.go:202"); err != nil {
			return err
		}
	}
	if !o.privateMode {
		if err := r.upgradePackages(timed, installed); err != nil {
			return err
		}
	}
	return i.upgradeRun(timed, o, m, artifacts)
}

// upgradeConfig loads and checks the configuration, which must keep the credential provider.
func (r *run) upgradeConfig(ctx context.Context, o options, installed *tracked) (*initRun, error) {
	r.log.info("upgrade/upgrade.go:130", "Loading configuration...", "configSource", o.configSource)
	cfg, err := r.provider(ctx, o.configSource)
	if err != nil {
		return nil, err
	}
	cfg.defaults()
	if err := r.checkConfig(ctx, cfg); err != nil {
		return nil, err
	}
	if (cfg.Spec.Hybrid.RolesAnywhere != nil) != installed.IamRolesAnywhere {
		return nil, errors.New("upgrade does not support changing credential providers. Please uninstall and install with new credential provider")
	}
	return &initRun{run: r, cfg: cfg, skips: o.skips, aws: r.clientFor(cfg)}, nil
}

func (r *run) upgradeRelease(ctx context.Context, o options) (*manifest, []artifact, error) {
	if err := r.phase(ctx, "manifest"); err != nil {
		return nil, nil, err
	}
	r.log.info("upgrade/upgrade.go:163", "Using manifest override", "manifest", o.manifest)
	m, err := r.readManifest(o.manifest)
	if err != nil {
		return nil, nil, err
	}
	version, artifacts, err := m.release(o.positional[0])
	if err != nil {
		return nil, nil, err
	}
	r.log.info("upgrade/upgrade.go:168", "Using Kubernetes version from manifest", "version", version)
	return m, artifacts, nil
}

// upgradeRun is the order of flows/upgrade.go: programs first, then AWS and the cluster, then the daemons. A failure leaves what
// was done until then.
func (i *initRun) upgradeRun(ctx context.Context, o options, m *manifest, artifacts []artifact) error {
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return i.upgradeProvider(ctx, m) },
		func(ctx context.Context) error { return i.upgradeComponents(ctx, artifacts) },
		i.configureAWS,
		func(ctx context.Context) error { return i.enrich(ctx, o.manifest) },
		i.configureDaemons, i.startContainerd, i.startKubelet,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return i.phase(ctx, "end")
}

func (i *initRun) upgradeProvider(ctx context.Context, m *manifest) error {
	if i.cfg.providerName() == providerSSM {
		return i.upgradeSSM(ctx)
	}
	return i.upgradeSigningHelper(ctx, m)
}

func (r *run) upgradeSigningHelper(ctx context.Context, m *manifest) error {
	r.log.info("flows/upgrade.go:102", "Upgrading AWS signing helper...")
	if err := r.phase(ctx, "aws_signing_helper"); err != nil {
		return err
	}
	a, err := m.signingHelper()
	if err != nil {
		return err
	}
	return r.upgradeArtifact(ctx, a, "aws-signing-helper", signingHelperDownload())
}

// upgradeComponents goes in the order of upgrade, which is not that of install.
func (r *run) upgradeComponents(ctx context.Context, artifacts []artifact) error {
	for _, c := range []struct{ phase, caller, say string }{
		{"kubelet", "flows/upgrade.go:129", "kubelet"}, {"kubectl", "flows/upgrade.go:134", "kubectl"},
		{"image-credential-provider", "flows/upgrade.go:139", "image credential provider"},
		{"aws-iam-authenticator", "flows/upgrade.go:144", "IAM authenticator"}, {"cni-plugins", "flows/upgrade.go:149", "cni-plugins"},
	} {
		r.log.info(c.caller, "Upgrading "+c.say+"...")
		if err := r.phase(ctx, c.phase); err != nil {
			return err
		}
		if err := r.upgradeComponent(ctx, componentNamed(c.phase), artifacts); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) upgradeComponent(ctx context.Context, c component, artifacts []artifact) error {
	a, err := find(artifacts, c.artifact)
	if err != nil {
		return err
	}
	d := c.download()
	switch c.phase {
	case "cni-plugins": // never compared
		if err := r.place(ctx, a, d); err != nil {
			return err
		}
		if err := r.unpackCNI(c.path); err != nil {
			return err
		}
		r.log.info("cni/install.go:110", "Upgraded", "artifact", c.artifact)
		return nil
	case "kubelet":
		if err := r.upgradeArtifact(ctx, a, c.artifact, d); err != nil {
			return stackf("failed to upgrade kubelet: %w", err)
		}
		return nil
	}
	return r.upgradeArtifact(ctx, a, c.label, d)
}

// upgradeArtifact asks for the program and its checksum in any case, and writes it in place where the sum on disk is another. A
// program that is missing is an error for ever.
func (r *run) upgradeArtifact(ctx context.Context, a artifact, name string, d download) error {
	body, want, err := r.open(ctx, a, d)
	if err != nil {
		return err
	}
	defer body.Close()
	raw, err := os.ReadFile(r.path(d.path))
	if errors.Is(err, os.ErrNotExist) {
		err = &os.PathError{Op: "open", Path: d.path, Err: errors.Unwrap(err)}
	}
	if err != nil {
		return stackf("checking for checksum match: %w", err)
	}
	if sum := sha256.Sum256(raw); hex.EncodeToString(sum[:]) == want {
		r.log.info("artifact/upgrade.go:49", fmt.Sprintf("No new version found for artifact %s. Skipping upgrade.", name))
		return nil
	}
	if err := r.fill(ctx, body, want, d); err != nil {
		return err
	}
	r.log.info("artifact/upgrade.go:47", "Upgraded", "artifact", name)
	return nil
}

func componentNamed(phase string) component {
	for _, c := range components() {
		if c.phase == phase {
			return c
		}
	}
	return component{}
}
