package kubelet

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"hybridagent/test/fakenodeadm/lab"
)

// RealConfig is the configuration that a real kubelet gets in place of the one that nodeadm wrote.
const RealConfig = "/run/fakenodeadm/kubelet.json"

// RealCommand is the program and the arguments by which the stand-in becomes a real kubelet: the flags of nodeadm's unit with
// another --config, which it writes below root. The program's path has the installed version in place of "{version}".
func RealCommand(root string, args []string, settings lab.Kubelet) (path string, argv []string, err error) {
	version, err := ownVersion()
	if err != nil {
		return "", nil, err
	}
	path = strings.ReplaceAll(settings.Real, "{version}", strings.TrimPrefix(version, "v"))
	argv = []string{path}
	if len(args) > 0 && args[0] == "--version" {
		return path, append(argv, args...), nil
	}
	flags, err := ParseFlags(args)
	if err != nil {
		return "", nil, err
	}
	if err := writeRealConfig(root, flags.Config, settings.Config); err != nil {
		return "", nil, fmt.Errorf("cannot configure the real kubelet: %w", err)
	}
	return path, append(append(argv, args...), "--config="+filepath.Join(root, RealConfig)), nil
}

// writeRealConfig takes away from nodeadm's configuration what a host in namespaces cannot do: systemd cgroups and reserved ones,
// kernel settings and iptables chains. The lab's own fields win.
func writeRealConfig(root, from string, own map[string]any) error {
	raw, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	cfg := map[string]any{}
	if err := json.Unmarshal(raw, &cfg); err != nil {
		return err
	}
	for _, name := range []string{"cgroupRoot", "kubeReservedCgroup", "systemReservedCgroup", "kubeReserved", "resolvConf"} {
		delete(cfg, name)
	}
	maps.Copy(cfg, map[string]any{
		"cgroupDriver": "cgroupfs", "failSwapOn": false, "makeIPTablesUtilChains": false, "protectKernelDefaults": false,
		"enforceNodeAllocatable": []string{"none"},
	})
	maps.Copy(cfg, own)
	if raw, err = json.MarshalIndent(cfg, "", "  "); err != nil {
		return err
	}
	path := filepath.Join(root, RealConfig)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, raw, 0o644)
}
