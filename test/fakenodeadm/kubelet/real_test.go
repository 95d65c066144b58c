package kubelet_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hybridagent/test/fakenodeadm/kubelet"
	"hybridagent/test/fakenodeadm/lab"
)

func TestTheRealKubeletGetsAConfigurationForTheLab(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	config := filepath.Join(root, "config.json")
	text := `{"kind":"KubeletConfiguration","cgroupDriver":"systemd","cgroupRoot":"/","kubeReservedCgroup":"/runtime","clusterDNS":["172.20.0.10"]}`
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	settings := lab.Kubelet{Real: "/opt/kubelet-{version}", Config: map[string]any{"maxPods": 7}}
	path, argv, err := kubelet.RealCommand(root, []string{"--config", config, "--hostname-override=edge-1"}, settings)
	if err != nil {
		t.Fatal(err)
	}
	written := filepath.Join(root, kubelet.RealConfig)
	want := "/opt/kubelet-0.0.0-standin --config " + config + " --hostname-override=edge-1 --config=" + written
	if got := strings.Join(argv, " "); path != argv[0] || got != want {
		t.Errorf("command\n got %s\nwant %s", got, want)
	}
	raw, err := os.ReadFile(written)
	if err != nil {
		t.Fatal(err)
	}
	var cfg map[string]any
	if err := json.Unmarshal(raw, &cfg); err != nil {
		t.Fatal(err)
	}
	if cfg["cgroupDriver"] != "cgroupfs" || cfg["failSwapOn"] != false || cfg["makeIPTablesUtilChains"] != false || cfg["maxPods"] != 7.0 ||
		cfg["clusterDNS"] == nil || cfg["cgroupRoot"] != nil || cfg["kubeReservedCgroup"] != nil {
		t.Errorf("configuration %s", raw)
	}
}
