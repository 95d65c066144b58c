package command

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestExecStartReadsTheUnitAsSystemdDoes(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "environment")
	text := "KUBELET_CONFIG_DROPIN_DIR_ALPHA=\"on\"\nNODEADM_KUBELET_ARGS=\"--cloud-provider= --node-ip=10.200.0.11\""
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	argv, env, err := execStart(strings.ReplaceAll(kubeletUnit, kubeletEnvironment, file))
	if err != nil {
		t.Fatal(err)
	}
	want := "/usr/bin/kubelet --config /etc/kubernetes/kubelet/config.json --kubeconfig /var/lib/kubelet/kubeconfig " +
		"--container-runtime-endpoint unix:///run/containerd/containerd.sock --cloud-provider= --node-ip=10.200.0.11"
	if got := strings.Join(argv, " "); got != want {
		t.Errorf("command line\n got %s\nwant %s", got, want)
	}
	if len(env) != 2 {
		t.Errorf("environment %q, want two variables", env)
	}
	if _, _, err := execStart("[Service]\nType=oneshot\n"); err == nil {
		t.Error("a unit without ExecStart was accepted")
	}
}
