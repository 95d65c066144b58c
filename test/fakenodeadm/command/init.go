package command

import (
	"context"
	"os"
	"strings"
	"time"
)

// initRun is one init: the run with what it learned on the way.
type initRun struct {
	*run
	cfg    *nodeConfig
	aws    *awsClient
	remote []string
	// described tells that the cluster came from DescribeCluster; without that several checks are silently left out.
	described    bool
	clusterMinor string
	sandboxImage string
	skips        []string
}

func (i *initRun) skip(name string) bool {
	for _, s := range i.skips {
		if s == name || s == name+"-validation" || s+"-validation" == name {
			return true
		}
	}
	return false
}

// init joins the node: every step in the order of the recorded runs.
func (r *run) init(ctx context.Context, o options) error {
	r.log.info("init/init.go:90", "Checking user is root...")
	if o.configSource == "" {
		return usageError{initHelp, configRequired}
	}
	r.log.info("init/init.go:108", "Loading installed components")
	installed, err := r.tracker()
	if err != nil {
		return err
	}
	if installed == nil {
		r.log.info("init/init.go:111", "Nodeadm components are not installed. Please run `nodeadm install` before running init")
		return nil
	}
	r.log.info("init/init.go:124", "Validating firewall ports for cilium and calico")
	cfg, err := r.provider(ctx, o.configSource)
	if err != nil {
		return err
	}
	cfg.defaults()
	if err := r.checkConfig(ctx, cfg); err != nil {
		return err
	}
	i := &initRun{run: r, cfg: cfg, skips: o.skips, aws: r.clientFor(cfg)}
	for _, step := range []func(context.Context) error{
		i.configureAWS, func(ctx context.Context) error { return i.enrich(ctx, o.manifest) }, i.validations,
		i.systemAspects, i.configureDaemons, i.startContainerd, i.startKubelet,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return i.phase(ctx, "end")
}

// configureAWS writes the AWS profile, before anything is checked against AWS: a refused init leaves it behind.
func (i *initRun) configureAWS(ctx context.Context) error {
	if i.command == "init" {
		i.log.info("flows/init.go:35", "Configuring Aws...")
	}
	if err := i.phase(ctx, "configure-aws"); err != nil {
		return err
	}
	if i.cfg.providerName() == providerSSM {
		return i.configureSSM(ctx)
	}
	if err := i.write(i.cfg.awsConfigPath(), awsConfig(i.cfg), 0o644, 0); err != nil {
		return err
	}
	if !i.cfg.Spec.Hybrid.EnableCredentialsFile {
		return nil
	}
	const unit = "aws_signing_helper_update"
	i.log.info("hybrid/aws.go:109", "Configuring aws_signing_helper_update daemon")
	if err := i.write("/etc/systemd/system/"+unit+".service", signingHelperUnit(i.cfg), 0o644, 0o755); err != nil {
		return err
	}
	if err := os.MkdirAll(i.path("/eks-hybrid/.aws"), 0o755); err != nil {
		return err
	}
	if err := i.Units.Enable(unit); err != nil {
		return err
	}
	if err := i.Units.Restart(unit); err != nil {
		return err
	}
	i.log.info("iamrolesanywhere/daemon.go:83", "waiting for AWS credentials file to be created by iam-ra service")
	for !i.exists("/eks-hybrid/.aws/credentials") {
		if !i.sleep(ctx, 2*time.Second) {
			return ctx.Err()
		}
	}
	i.log.info("iamrolesanywhere/daemon.go:88", "AWS credentials file created successfully")
	return nil
}

// systemAspects writes the sysctl file and /etc/fstab. The stand-in applies no sysctl and turns no swap off: those would reach
// the machine that the lab runs on.
func (i *initRun) systemAspects(ctx context.Context) error {
	i.log.info("flows/init.go:67", "Setting up system aspects...")
	if err := i.phase(ctx, "system-aspects"); err != nil {
		return err
	}
	ports := func() error {
		i.log.info("system/ports.go:74", "No firewall enabled on the host. Skipping setting firewall rules...")
		return nil
	}
	sysctl := func() error { return i.write("/etc/sysctl.d/99-nodeadm.conf", sysctlText, 0o644, 0o755) }
	for _, aspect := range []struct {
		name string
		set  func() error
	}{{"sysctl", sysctl}, {"swap", i.dropSwap}, {"ports", ports}} {
		i.log.info("flows/init.go:70", "Setting up system aspect...", "name", aspect.name)
		if err := aspect.set(); err != nil {
			return err
		}
		i.log.info("flows/init.go:74", "Finished setting up system aspect", "name", aspect.name)
	}
	return nil
}

// dropSwap rewrites /etc/fstab, which must exist, without its swap lines.
func (i *initRun) dropSwap() error {
	raw, err := os.ReadFile(i.path("/etc/fstab"))
	if err != nil {
		return err
	}
	var kept []string
	for _, line := range strings.SplitAfter(string(raw), "\n") {
		f := strings.Fields(line)
		if len(f) < 3 || strings.HasPrefix(f[0], "#") || f[2] != "swap" {
			kept = append(kept, line)
		}
	}
	return i.write("/etc/fstab", strings.Join(kept, ""), 0o644, 0o755)
}

func (i *initRun) configureDaemons(ctx context.Context) error {
	i.log.info("flows/init.go:86", "Configuring Pre-process daemons...")
	i.log.info("flows/init.go:97", "Configuring daemons...")
	for _, d := range []struct {
		name, phase string
		configure   func(context.Context) error
	}{{"containerd", "containerd-config", i.configureContainerd}, {"kubelet", "kubelet-config", i.configureKubelet}} {
		i.log.info("flows/init.go:101", "Configuring daemon...", "name", d.name)
		if err := i.phase(ctx, d.phase); err != nil {
			return err
		}
		if err := d.configure(ctx); err != nil {
			return err
		}
		i.log.info("flows/init.go:105", "Configured daemon", "name", d.name)
	}
	return nil
}

// restart enables and restarts a unit and waits for it, without end.
func (i *initRun) restart(ctx context.Context, unit, caller, done string) error {
	i.log.info("flows/init.go:113", "Ensuring daemon is running...", "name", unit)
	if err := i.Units.Enable(unit); err != nil {
		return err
	}
	if err := i.Units.Restart(unit); err != nil {
		return err
	}
	i.log.info(caller, "Waiting for "+unit+" to be running...")
	for first := true; first || !i.Units.Running(unit); first = false {
		i.log.info("daemon/wait.go:25", "Daemon is not in the desired state yet", "daemon", unit, "status", "unknown")
		if !i.sleep(ctx, 5*time.Second) {
			return ctx.Err()
		}
	}
	i.log.info(done, unit+" is running")
	i.log.info("flows/init.go:117", "Daemon is running", "name", unit)
	i.log.info("flows/init.go:119", "Running post-launch tasks...", "name", unit)
	return nil
}

// startContainerd ends with the sandbox image. The stand-in asks ECR for the token, as the real program must, but pulls
// nothing: there is no registry in the lab.
func (i *initRun) startContainerd(ctx context.Context) error {
	if err := i.phase(ctx, "containerd-start"); err != nil {
		return err
	}
	if err := i.restart(ctx, "containerd", "containerd/daemon.go:64", "containerd/daemon.go:68"); err != nil {
		return err
	}
	i.log.info("containerd/sandbox.go:39", "Looking up current sandbox image in containerd config...")
	i.log.info("containerd/sandbox.go:64", "Found sandbox image", "image", i.sandboxImage)
	i.log.info("containerd/sandbox.go:66", "Fetching ECR authorization token...")
	if err := i.phase(ctx, "ecr-token"); err != nil {
		return err
	}
	if err := i.aws.ecrToken(ctx); err != nil {
		return err
	}
	i.log.info("containerd/sandbox.go:80", "Pulling sandbox image...", "image", i.sandboxImage)
	i.log.info("containerd/sandbox.go:85", "Finished pulling sandbox image", "image-ref", sandboxRef)
	i.log.info("flows/init.go:123", "Finished post-launch tasks", "name", "containerd")
	return nil
}

// sandboxRef is the image ID in the recorded runs.
const sandboxRef = "sha256:e40e5a4e976762d0a0f2f8b030ad21069a61b379428c49ad53b5c4bddbbaab66"

func (i *initRun) startKubelet(ctx context.Context) error {
	if err := i.phase(ctx, "kubelet-start"); err != nil {
		return err
	}
	if err := i.restart(ctx, "kubelet", "kubelet/daemon.go:103", "kubelet/daemon.go:107"); err != nil {
		return err
	}
	i.log.info("flows/init.go:123", "Finished post-launch tasks", "name", "kubelet")
	return nil
}
