package command_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hybridagent/test/fakeaws/server"
	"hybridagent/test/fakenodeadm/tools"
)

// TestMain plays a program of Systems Manager where a run started this binary under its name.
func TestMain(m *testing.M) {
	root, err := os.Getenv("STANDIN_ROOT"), errors.New("no role")
	switch os.Getenv("STANDIN_ROLE") {
	case "":
		os.Exit(m.Run())
	case "ssm-setup-cli":
		err = tools.SSMSetup(root, os.Args[1:], os.Stdout)
	case "amazon-ssm-agent":
		err = tools.SSMAgent(context.Background(), root, os.Args[1:], os.Getenv, os.Stdout)
	}
	if err != nil {
		io.WriteString(os.Stderr, err.Error())
		os.Exit(1)
	}
}

const ssmNodeConfig = `apiVersion: node.eks.aws/v1alpha1
kind: NodeConfig
spec:
  cluster:
    name: lab
    region: us-west-2
  hybrid:
    ssm:
      activationCode: lab-activation-code-0001
      activationId: 11111111-2222-4333-8444-555555555555
`

const activationCode = "lab-activation-code-0001"

// ssmHost has the components for SSM and its NodeConfig, and is not initialised.
func ssmHost(t *testing.T) *host {
	t.Helper()
	h := freshHost(t)
	h.write("/lab/nodeconfig.yaml", ssmNodeConfig, 0o644)
	args := append([]string{}, installArgs...)
	args[3] = "ssm"
	h.succeed(args)
	return h
}

func (h *host) file(path string) string {
	h.t.Helper()
	raw, err := os.ReadFile(filepath.Join(h.root, path))
	h.must(err)
	return string(raw)
}

func TestSSMKeepsTheInstanceThroughInitAndUpgradeUntilUninstall(t *testing.T) {
	t.Parallel()
	h := ssmHost(t)
	if tracker := h.file("/opt/nodeadm/tracker"); !strings.Contains(tracker, "Ssm: true") || !strings.Contains(tracker, "IamRolesAnywhere: false") {
		t.Errorf("tracker\n%s", tracker)
	}
	h.succeed(initArgs)
	instances := h.server.Instances()
	if len(instances) != 1 || !strings.HasPrefix(instances[0].ID, "mi-") {
		t.Fatalf("instances %v, want one", instances)
	}
	id := instances[0].ID
	env := h.file("/etc/eks/kubelet/environment")
	for _, want := range []string{"--hostname-override=" + id, "hybrid-credential-provider=ssm"} {
		if !strings.Contains(env, want) {
			t.Errorf("no %s in %s", want, env)
		}
	}
	h.must(h.server.SetFaults(server.Faults{SSM: "activation-used-up"})) // it is not asked again
	h.succeed(initArgs)
	h.server.PutNode(id, true)
	h.succeed(upgradeArgs)
	if got := h.server.Instances(); len(got) != 1 || got[0].ID != id || !strings.Contains(h.file(tools.SSMRegistrationPath), id) {
		t.Errorf("instances %v after the upgrade, want %s", got, id)
	}
	h.succeed([]string{"uninstall"})
	if got := h.server.Instances(); len(got) != 0 {
		t.Errorf("instances %v after the uninstall, want none", got)
	}
	for _, path := range []string{"/root/.aws", tools.SSMRegistrationPath, tools.SSMAgentPath, tools.SSMSetupPath, "/etc/amazon"} {
		if _, err := os.Stat(filepath.Join(h.root, path)); err == nil {
			t.Errorf("%s is left", path)
		}
	}
}

func TestActivationsThatFail(t *testing.T) {
	t.Parallel()
	for fault, text := range map[string]string{
		"activation-expired": "SSM activation expired. Please use a valid activation",
		"activation-wrong":   "invalid SSM activation. Please use a valid activation code, activation id and region",
		"activation-used-up": "RegistrationLimitExceeded",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			h := ssmHost(t)
			h.must(h.server.SetFaults(server.Faults{SSM: fault}))
			stderr := h.fails(initArgs, 1, text)
			if !strings.Contains(stderr, activationCode) {
				t.Error("the activation code is not in the log, where the real program has it")
			}
			h.must(h.server.SetFaults(server.Faults{}))
			h.succeed(initArgs)
		})
	}
}

func TestUninstallBeforeInitDeregistersNothing(t *testing.T) {
	t.Parallel()
	h := ssmHost(t)
	stderr := h.fails([]string{"uninstall"}, 0, "Skipping SSM deregistration")
	if strings.Contains(stderr, "signing helper") {
		t.Errorf("Roles Anywhere in the uninstall of SSM:\n%s", stderr)
	}
}
