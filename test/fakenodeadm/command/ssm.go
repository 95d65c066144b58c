package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"time"

	"hybridagent/test/fakenodeadm/tools"
)

// Systems Manager. No run with it was recorded: order, paths, commands and error texts follow internal/ssm and internal/flows of
// github.com/aws/eks-hybrid, log lines without a source there are the stand-in's own. The real setup program is verified against a
// compiled-in key and downloads the agent from S3; this one comes from the lab's artifacts.

const (
	providerSSM       = "ssm"
	ssmUnit           = "amazon-ssm-agent"
	sharedCredentials = "/root/.aws/credentials"
	ssmTimeout        = 60 * time.Second
	ssmBackoff        = 10 * time.Second
)

// installSSM downloads the setup program and lets it install the agent.
func (r *run) installSSM(ctx context.Context, region string) error {
	r.log.info("flows/install.go:96", "Installing SSM agent installer...")
	if err := r.phase(ctx, "ssm"); err != nil {
		return err
	}
	base := r.getenv("AWS_ENDPOINT_URL")
	if base == "" {
		return errors.New("this stand-in fetches ssm-setup-cli from AWS_ENDPOINT_URL/artifacts/ssm only, and that is not set")
	}
	uri := strings.TrimSuffix(base, "/") + "/artifacts/ssm/ssm-setup-cli"
	a := artifact{URI: uri, Checksum: uri + ".sha256"}
	d := download{source: "getting ssm-setup-cli", label: "ssm-setup-cli", path: tools.SSMSetupPath}
	if err := r.retrying(ctx, "ssm/install.go:112", "ssm-setup-cli", func() error { return r.place(ctx, a, d) }); err != nil {
		return stackf("failed to install ssm installer: %w", err)
	}
	if err := r.retryCommand(ctx, 5*time.Second, tools.SSMSetupPath, "-install", "-region", region, "-version", "latest"); err != nil {
		return stackf("failed to install ssm agent: %w", err)
	}
	r.log.info("ssm/install.go:88", "Configuring SSMAgent for hybrid node")
	return r.write("/etc/amazon/ssm/amazon-ssm-agent.json", `{"Ssm":{"CredentialRetryMaxSleepSeconds":60}}`, 0o600, 0o755)
}

func (r *run) upgradeSSM(ctx context.Context) error {
	r.log.info("flows/upgrade.go:112", "Upgrading SSM agent installer...")
	if err := r.installSSM(ctx, "us-west-2"); err != nil {
		return err
	}
	r.log.info("ssm/install.go:98", "Upgraded", "artifact", "ssm")
	return nil
}

// configureSSM registers the machine once, starts the agent and waits for its credentials. The activation code is in the command
// line of the agent's registration, in every line about its failure and in the last error.
func (i *initRun) configureSSM(ctx context.Context) error {
	if err := i.register(ctx); err != nil {
		return fmt.Errorf("configuring aws credentials with SSM: %w", err)
	}
	if err := i.phase(ctx, "ssm-start"); err != nil {
		return err
	}
	if err := i.Units.Enable(ssmUnit); err != nil {
		return err
	}
	i.log.info("ssm/daemon.go:83", "Restarting SSM agent...")
	if err := i.Units.Restart(ssmUnit); err != nil {
		return fmt.Errorf("restarting SSM agent: %w", err)
	}
	i.log.info("ssm/daemon.go:93", "Waiting for SSM agent to be running...")
	if err := i.until(ctx, 5*time.Minute, func() bool { return i.Units.Running(ssmUnit) }); err != nil {
		return fmt.Errorf("waiting for SSM agent to be running: %w", err)
	}
	i.log.info("ssm/daemon.go:97", "SSM agent is running")
	if err := i.linkCredentials(); err != nil {
		return err
	}
	i.log.info("hybrid/aws.go:49", "Waiting for AWS config to be available")
	if err := i.until(ctx, 2*time.Minute, func() bool { return i.exists(sharedCredentials) }); err != nil {
		return fmt.Errorf("reading aws config for SSM: %w", err)
	}
	return nil
}

func (i *initRun) register(ctx context.Context) error {
	if err := i.phase(ctx, "ssm-register"); err != nil {
		return err
	}
	id, err := tools.ManagedInstanceID(i.Root)
	switch {
	case err == nil:
		i.log.info("ssm/config.go:40", "SSM agent already registered, skipping registration")
	case errors.Is(err, fs.ErrNotExist):
		if id, err = i.registerAnew(ctx); err != nil {
			return err
		}
	default:
		return fmt.Errorf("reading ssm registration file: %w", err)
	}
	i.log.info("ssm/config.go:66", "Machine registered with SSM, assigning instance ID as node name", "instanceID", id)
	i.cfg.nodeName = id
	return nil
}

func (i *initRun) registerAnew(ctx context.Context) (string, error) {
	i.log.info("ssm/config.go:47", "Registering machine with SSM agent")
	timed, cancel := context.WithTimeout(ctx, max(i.Settings.Scale(ssmTimeout), 2*time.Second))
	defer cancel()
	activation := i.cfg.Spec.Hybrid.SSM
	err := i.retryCommand(timed, ssmBackoff, tools.SSMAgentPath, "-register", "-y", "-region", i.cfg.Spec.Cluster.Region,
		"-code", activation.ActivationCode, "-id", activation.ActivationID)
	switch {
	case err == nil:
		return tools.ManagedInstanceID(i.Root)
	case strings.Contains(err.Error(), "ActivationExpired"):
		return "", errors.New("SSM activation expired. Please use a valid activation")
	case strings.Contains(err.Error(), "InvalidActivation"):
		return "", errors.New("invalid SSM activation. Please use a valid activation code, activation id and region")
	}
	return "", fmt.Errorf("failed to register machine with SSM after multiple attempts: %w", err)
}

// linkCredentials makes /eks-hybrid/.aws name the agent's folder where the configuration asks for a credentials file.
func (i *initRun) linkCredentials() error {
	if !i.cfg.Spec.Hybrid.EnableCredentialsFile {
		return nil
	}
	i.log.info("ssm/daemon.go:105", "Creating symlink for AWS credentials", "Symbolic link path", "/eks-hybrid/.aws")
	if err := os.MkdirAll(i.path("/eks-hybrid"), 0o755); err != nil {
		return fmt.Errorf("creating path: %w", err)
	}
	if err := os.RemoveAll(i.path("/eks-hybrid/.aws")); err != nil {
		return err
	}
	return os.Symlink("/root/.aws", i.path("/eks-hybrid/.aws"))
}

func (r *run) until(ctx context.Context, limit time.Duration, is func() bool) error {
	timed, cancel := context.WithTimeout(ctx, max(r.Settings.Scale(limit), 5*time.Second))
	defer cancel()
	for !is() {
		if !r.sleep(timed, 2*time.Second) {
			return timed.Err()
		}
	}
	return nil
}

// retryCommand runs the program until it succeeds or ctx ends; its whole command line is in every message. A try that the end of ctx cuts
// short says nothing of the cause, so the error is that of the try before: which of the two the real one shows is a matter of timing.
func (r *run) retryCommand(ctx context.Context, backoff time.Duration, path string, args ...string) error {
	var before error
	for {
		cmd := exec.CommandContext(ctx, r.path(path), args...)
		cmd.Env = append(append([]string{}, r.Env...), "STANDIN_ROOT="+r.Root)
		out, err := cmd.CombinedOutput()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil && before != nil {
			return before
		}
		err = fmt.Errorf("running command [%s %s]: %s: %w", path, strings.Join(args, " "), out, err)
		r.log.err("cmd/retry.go:34", "Command failed. Retrying...", "error", err.Error())
		if !r.sleep(ctx, backoff) {
			return err
		}
		before = err
	}
}

// uninstallSSM stops the agent, deregisters the machine where SSM still knows it, and takes away agent, registration and
// credentials. Every part is tried; the errors come together.
func (r *run) uninstallSSM(ctx context.Context) error {
	r.log.info("flows/uninstall.go:72", "Stopping SSM daemon...")
	if err := r.phase(ctx, "ssm"); err != nil {
		return err
	}
	if r.Units.Running(ssmUnit) {
		if err := r.Units.Stop(ssmUnit); err != nil {
			return err
		}
	}
	r.log.info("ssm/install.go:176", "Uninstalling SSM agent...")
	found := []error{r.deregister(ctx)}
	for _, path := range []string{
		tools.SSMRegistrationPath, tools.SSMAgentPath, tools.SSMUnitPath, tools.SSMSetupPath, "/etc/amazon", "/eks-hybrid/.aws", "/root/.aws",
	} {
		found = append(found, r.removeAll(path))
	}
	if err := errors.Join(found...); err != nil {
		return fmt.Errorf("uninstalling SSM: %w", err)
	}
	return nil
}

func (r *run) deregister(ctx context.Context) error {
	id, err := tools.ManagedInstanceID(r.Root)
	if errors.Is(err, fs.ErrNotExist) {
		r.log.info("ssm/registration.go:61", "Skipping SSM deregistration - node is not registered")
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading ssm registration file: %w", err)
	}
	aws := &awsClient{run: r, region: tools.SSMRegion(r.Root)}
	body := fmt.Sprintf(`{"Filters":[{"Key":"InstanceIds","Values":[%q]}]}`, id)
	raw, err := aws.target(ctx, "SSM", "AmazonSSM", "DescribeInstanceInformation", body)
	if err != nil {
		return fmt.Errorf("getting managed instance information: %w", err)
	}
	var out struct{ InstanceInformationList []json.RawMessage }
	if err := json.Unmarshal(raw, &out); err != nil || len(out.InstanceInformationList) == 0 {
		return err
	}
	if _, err := aws.target(ctx, "SSM", "AmazonSSM", "DeregisterManagedInstance", fmt.Sprintf(`{"InstanceId":%q}`, id)); err != nil {
		return fmt.Errorf("deregistering ssm managed instance: %w", err)
	}
	return nil
}
