package command

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// nodeConfig mirrors the fields of node.eks.aws/v1alpha1 that the real program accepts; others are errors.
type nodeConfig struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Metadata   json.RawMessage `json:"metadata"`
	Spec       struct {
		Cluster cluster `json:"cluster"`
		Kubelet struct {
			Config map[string]any `json:"config"`
			Flags  []string       `json:"flags"`
		} `json:"kubelet"`
		Containerd struct {
			Config string `json:"config"`
		} `json:"containerd"`
		Hybrid *hybrid `json:"hybrid"`
	} `json:"spec"`
	// nodeName is Roles Anywhere's, or the instance ID that SSM gave.
	nodeName string
}

type cluster struct {
	Name                 string `json:"name"`
	Region               string `json:"region"`
	APIServerEndpoint    string `json:"apiServerEndpoint"`
	CertificateAuthority []byte `json:"certificateAuthority"`
	CIDR                 string `json:"cidr"`
}

type hybrid struct {
	EnableCredentialsFile bool `json:"enableCredentialsFile"`
	SSM                   *struct {
		ActivationCode string `json:"activationCode"`
		ActivationID   string `json:"activationId"`
	} `json:"ssm"`
	RolesAnywhere *rolesAnywhere `json:"iamRolesAnywhere"`
}

type rolesAnywhere struct {
	NodeName        string `json:"nodeName"`
	TrustAnchorArn  string `json:"trustAnchorArn"`
	ProfileArn      string `json:"profileArn"`
	RoleArn         string `json:"roleArn"`
	AwsConfigPath   string `json:"awsConfigPath"`
	CertificatePath string `json:"certificatePath"`
	PrivateKeyPath  string `json:"privateKeyPath"`
}

// loadConfig reads a file:// NodeConfig. Unknown fields are refused; apiVersion and kind are not looked at.
func (r *run) loadConfig(source string) (*nodeConfig, error) {
	path, ok := strings.CutPrefix(source, "file://")
	if !ok {
		return nil, fmt.Errorf("this stand-in reads file:// configurations only, not %s", source)
	}
	raw, err := os.ReadFile(r.path(path))
	if err != nil {
		return nil, err
	}
	asJSON, err := yaml.YAMLToJSON(raw)
	if err != nil {
		return nil, fmt.Errorf("error converting YAML to JSON: %w", err)
	}
	cfg := &nodeConfig{}
	dec := json.NewDecoder(bytes.NewReader(asJSON))
	dec.DisallowUnknownFields()
	if err := dec.Decode(cfg); err != nil {
		return nil, fmt.Errorf("error unmarshaling JSON: while decoding JSON: %w", err)
	}
	return cfg, nil
}

func flagValue(flags []string, name string) string {
	value := ""
	for _, f := range flags {
		if v, ok := strings.CutPrefix(f, "--"+name+"="); ok {
			value = v
		}
	}
	return value
}

// providerName is the credential provider's, as --credential-provider and the node's label name it.
func (c *nodeConfig) providerName() string {
	if c.Spec.Hybrid.RolesAnywhere == nil {
		return providerSSM
	}
	return "iam-ra"
}

// defaults fills in what init, but not config check, assumes.
func (c *nodeConfig) defaults() {
	if c.Spec.Hybrid == nil || c.Spec.Hybrid.RolesAnywhere == nil {
		return
	}
	ra := c.Spec.Hybrid.RolesAnywhere
	c.nodeName = ra.NodeName
	if ra.CertificatePath == "" {
		ra.CertificatePath = "/etc/iam/pki/server.pem"
	}
	if ra.PrivateKeyPath == "" {
		ra.PrivateKeyPath = "/etc/iam/pki/server.key"
	}
}

func (c *nodeConfig) awsConfigPath() string {
	if c.Spec.Hybrid.RolesAnywhere == nil {
		return "/root/.aws/config" // a guess: the SSM agent keeps its credentials beside it
	}
	if p := c.Spec.Hybrid.RolesAnywhere.AwsConfigPath; p != "" {
		return p
	}
	return "/etc/aws/hybrid/config"
}

// validate checks in the order of the real program; the first finding ends it.
func (r *run) validate(c *nodeConfig) error {
	override := flagValue(c.Spec.Kubelet.Flags, "hostname-override")
	switch {
	case c.Spec.Cluster.Name == "":
		return errors.New("Name is missing in cluster configuration")
	case c.Spec.Cluster.Region == "":
		return errors.New("Region is missing in cluster configuration")
	case override != "":
		return fmt.Errorf("hostname-override kubelet flag is not supported for hybrid nodes but found override: %s", override)
	case c.Spec.Hybrid == nil || c.Spec.Hybrid.SSM == nil && c.Spec.Hybrid.RolesAnywhere == nil:
		return errors.New("Either IAMRolesAnywhere or SSM must be provided for hybrid node configuration")
	case c.Spec.Hybrid.SSM != nil && c.Spec.Hybrid.RolesAnywhere != nil:
		return errors.New("Only one of IAMRolesAnywhere or SSM must be provided for hybrid node configuration")
	case c.Spec.Hybrid.SSM != nil && c.Spec.Hybrid.SSM.ActivationCode == "":
		return errors.New("ActivationCode is missing in hybrid ssm configuration")
	case c.Spec.Hybrid.SSM != nil && c.Spec.Hybrid.SSM.ActivationID == "":
		return errors.New("ActivationID is missing in hybrid ssm configuration")
	case c.Spec.Hybrid.SSM != nil:
		return nil
	}
	return r.validateRolesAnywhere(c.Spec.Hybrid.RolesAnywhere)
}

func (r *run) validateRolesAnywhere(ra *rolesAnywhere) error {
	for _, f := range []struct{ value, text string }{
		{ra.RoleArn, "RoleARN is missing in hybrid iam roles anywhere configuration"},
		{ra.ProfileArn, "ProfileARN is missing in hybrid iam roles anywhere configuration"},
		{ra.TrustAnchorArn, "TrustAnchorARN is missing in hybrid iam roles anywhere configuration"},
		{ra.NodeName, "NodeName can't be empty in hybrid iam roles anywhere configuration"},
		{ra.CertificatePath, "CertificatePath is missing in hybrid iam roles anywhere configuration"},
		{ra.PrivateKeyPath, "PrivateKeyPath is missing in hybrid iam roles anywhere configuration"},
	} {
		if f.value == "" {
			return errors.New(f.text)
		}
	}
	switch {
	case len(ra.NodeName) > 64:
		return errors.New("NodeName can't be longer than 64 characters in hybrid iam roles anywhere configuration")
	case !r.exists(ra.CertificatePath):
		return fmt.Errorf("IAM Roles Anywhere certificate %s not found", ra.CertificatePath)
	case !r.exists(ra.PrivateKeyPath):
		return fmt.Errorf("IAM Roles Anywhere private key %s not found", ra.PrivateKeyPath)
	}
	raw, err := os.ReadFile(r.path(ra.CertificatePath))
	if err != nil {
		return err
	}
	if err := certificateUsable(raw); err != nil {
		return fmt.Errorf("validating iam-roles-anywhere certificate: %w", err)
	}
	return nil
}

func certificateUsable(raw []byte) error {
	block, _ := pem.Decode(raw)
	if block == nil {
		return errors.New("parsing certificate")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	switch {
	case err != nil:
		return errors.New("parsing certificate")
	case time.Now().After(cert.NotAfter):
		return errors.New("server certificate has expired")
	case time.Now().Before(cert.NotBefore):
		return errors.New("server certificate is not yet valid")
	}
	return nil
}

// configCheck validates without filling in defaults.
func (r *run) configCheck(ctx context.Context, o options) error {
	if o.configSource == "" {
		return usageError{configHelp, configRequired}
	}
	r.log.info("config/check.go:30", "Checking configuration", "source", o.configSource)
	cfg, err := r.provider(ctx, o.configSource)
	if err != nil {
		return err
	}
	if err := r.checkConfig(ctx, cfg); err != nil {
		return err
	}
	r.log.info("config/check.go:49", "Configuration is valid")
	return nil
}

const configRequired = "--config-source is a required flag. The format is a URI with supported schemes: [file, imds]. " +
	"For example on hybrid nodes --config-source file://nodeConfig.yaml"

// provider is what config check and init have in common before validation.
func (r *run) provider(ctx context.Context, source string) (*nodeConfig, error) {
	if err := r.phase(ctx, "load-config"); err != nil {
		return nil, err
	}
	cfg, err := r.loadConfig(source)
	if err != nil {
		return nil, err
	}
	r.log.info("node/node.go:13", "Loading configuration...", "configSource", source)
	r.log.info("node/node.go:23", "Setting up hybrid node provider...")
	if !r.HasSystemd() {
		return nil, errors.New("dial unix /run/systemd/private: connect: no such file or directory")
	}
	return cfg, nil
}

func (r *run) checkConfig(ctx context.Context, cfg *nodeConfig) error {
	r.log.info("hybrid/validator.go:91", "Validating configuration...")
	if err := r.phase(ctx, "validate-config"); err != nil {
		return err
	}
	return r.validate(cfg)
}
