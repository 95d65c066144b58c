package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// check is one validation of init. Its remediation goes into the log beside the error.
type check struct {
	skip, name, message string
	// needsCluster leaves it out, silently, when NodeConfig itself gave the cluster's details.
	needsCluster bool
	run          func(context.Context) error
	remediation  string
	// warnOnly reports a finding without failing.
	warnOnly bool
}

const troubleshooting = "https://docs.aws.amazon.com/eks/latest/userguide/hybrid-nodes-troubleshooting.html"

func (i *initRun) checks() []check {
	provider := check{skip: "iam-ra-api-network", name: "iam-roles-anywhere-endpoint-access",
		message: "Validating access to AWS IAM Roles Anywhere API endpoint", run: i.providerReachable,
		remediation: "Ensure your network configuration allows the node to access the AWS IAM Roles Anywhere API endpoint."}
	if i.cfg.providerName() == providerSSM {
		provider.skip, provider.name, provider.message = "ssm-api-network", "ssm-endpoint-access", "Validating access to AWS SSM API endpoint"
		provider.remediation = "Ensure your network configuration allows access to the AWS SSM API endpoint."
	}
	return []check{
		provider,
		{skip: "aws-auth-validation", name: "sts-authentication", message: "Validating authentication against AWS",
			run:         func(ctx context.Context) error { _, err := i.aws.callerIdentity(ctx); return err },
			remediation: "Check your AWS configuration and ensure you can obtain valid AWS credentials."},
		{skip: "node-ip-validation", name: "network-interface-validation", message: "Validating hybrid node network interface", needsCluster: true,
			run: i.nodeIPInRemoteNetworks, remediation: "Ensure the node IP is within the configured remote network CIDR blocks. Update the remote network " +
				"configuration in the EKS cluster or adjust the node's network configuration. See " + troubleshooting},
		{skip: "kubelet-cert-validation", name: "kubernetes-kubelet-certificate", message: "Validating kubelet server certificate",
			run: i.kubeletCertificate, remediation: "Remove the kubelet server certificate and run init again."},
		{skip: "kubelet-version-skew-validation", name: "kubelet-version-skew-validation", message: "Validating kubelet version skew", needsCluster: true,
			run: i.versionSkew, remediation: "Install a kubelet that is not newer than the cluster and at most three minor versions older."},
		{skip: "k8s-endpoint-network-validation", name: "kubernetes-endpoint-access", message: "Validating access to Kubernetes API endpoint",
			run: i.apiReachable, remediation: "Ensure your network configuration allows the node to access the Kubernetes API endpoint."},
		{skip: "proxy-validation", name: "proxy-configuration", message: "Validating proxy configuration on the hybrid node",
			run: i.proxy, remediation: "Run the node on a supported operating system or remove the proxy."},
		{skip: "node-inactive-validation", name: "node-inactive-validation", message: "Validating that the node is inactive", warnOnly: true,
			run: i.inactive, remediation: "Ensure the hybrid node is made inactive by running 'nodeadm uninstall' before attaching to the EKS cluster"},
		{skip: "cluster-access-validation", name: "cluster-access-validation", message: "Validating cluster access through EKS access entry", needsCluster: true,
			run: i.clusterAccess, remediation: "Ensure your EKS cluster has at least one access entry with the hybrid node IAM role as principal."},
	}
}

// validations runs them all, and fails at the end with what they found.
func (i *initRun) validations(ctx context.Context) error {
	if err := i.phase(ctx, "validations"); err != nil {
		return err
	}
	var found []error
	for _, c := range i.checks() {
		if i.skip(c.skip) || c.needsCluster && !i.described {
			continue
		}
		if err := i.validation(ctx, c); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			found = append(found, err)
		}
	}
	if err := errors.Join(found...); err != nil {
		i.log.err("hybrid/hybrid.go:154", "Hybrid node validation failures detected", "error", err.Error())
		return err
	}
	i.log.info("hybrid/hybrid.go:158", "All hybrid node validations passed successfully")
	return nil
}

func (i *initRun) validation(ctx context.Context, c check) error {
	i.log.info("validation/logger_printer.go:36", "Starting validation", "validation", c.name, "message", c.message)
	err := c.run(ctx)
	switch {
	case err == nil:
		i.log.info("validation/logger_printer.go:48", "Validation passed", "validation", c.name)
		return nil
	case c.warnOnly:
		i.log.line("warn", "validation/logger_printer.go:80", "Validation failed",
			fields{"validation", c.name, "error", err.Error(), "remediation", c.remediation})
		return nil
	}
	i.log.err("validation/logger_printer.go:98", "Validation failed", "validation", c.name, "error", err.Error(), "remediation", c.remediation)
	return err
}

func (i *initRun) kubeletCertificate(context.Context) error {
	raw, err := os.ReadFile(i.path("/var/lib/kubelet/pki/kubelet-server-current.pem"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := certificateUsable(raw); err != nil {
		return fmt.Errorf("validating kubelet certificate: %w", err)
	}
	return nil
}

// versionSkew: a kubelet may be up to three minor versions older than the cluster and never newer.
func (i *initRun) versionSkew(ctx context.Context) error {
	version, err := i.kubeletVersion(ctx)
	if err != nil {
		return err
	}
	kubelet, server := minorOf(version), minorOf(i.clusterMinor)
	if kubelet > server || server-kubelet > 3 {
		return fmt.Errorf("kubelet version %s is not compatible with the cluster's version %s", version, i.clusterMinor)
	}
	return nil
}

func minorOf(version string) int {
	parts := strings.Split(strings.TrimPrefix(version, "v"), ".")
	if len(parts) < 2 {
		return -1
	}
	n, err := strconv.Atoi(parts[1])
	if err != nil {
		return -1
	}
	return n
}

// proxy refuses operating systems whose package manager it does not know, once a proxy is configured.
func (i *initRun) proxy(context.Context) error {
	if i.getenv("HTTP_PROXY") == "" && i.getenv("HTTPS_PROXY") == "" {
		return nil
	}
	switch id := i.osID(); id {
	case "ubuntu", "rhel", "amzn":
		return nil
	default:
		return fmt.Errorf("unsupported operating system for the proxy configuration: %s", id)
	}
}

func (r *run) osID() string {
	raw, err := os.ReadFile(r.path("/etc/os-release"))
	if err != nil {
		return ""
	}
	for _, line := range strings.Split(string(raw), "\n") {
		if v, ok := strings.CutPrefix(line, "ID="); ok {
			return strings.Trim(v, `"`)
		}
	}
	return ""
}

func (i *initRun) inactive(context.Context) error {
	if i.exists(kubeletEnvironment) {
		return fmt.Errorf("kubelet args environment file %s exists", kubeletEnvironment)
	}
	return nil
}

// clusterAccess looks for an access entry whose ARN contains the caller's role name.
func (i *initRun) clusterAccess(ctx context.Context) error {
	arn, err := i.aws.callerIdentity(ctx)
	if err != nil {
		return err
	}
	body, err := i.aws.get(ctx, "EKS", "ListAccessEntries", "/clusters/"+i.cfg.Spec.Cluster.Name+"/access-entries")
	if err != nil {
		return err
	}
	var out struct{ AccessEntries []string }
	if err := json.Unmarshal(body, &out); err != nil {
		return err
	}
	role := strings.Split(arn+"//", "/")[1]
	for _, entry := range out.AccessEntries {
		if strings.Contains(entry, role) {
			return nil
		}
	}
	return errors.New("missing access entry with Hybrid Node role principal")
}
