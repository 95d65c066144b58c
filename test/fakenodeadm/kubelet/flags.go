package kubelet

import (
	"fmt"
	"net"
	"os"
	"strings"
)

// Flags are the command-line flags that the stand-in acts on; it accepts and ignores all others.
type Flags struct {
	NodeName, Kubeconfig, Config, ConfigDir, CertDir string
	NodeIP                                           net.IP
	Labels                                           map[string]string
	Taints                                           []Taint
}

// Taint is one entry of --register-with-taints.
type Taint struct {
	Key    string `json:"key"`
	Value  string `json:"value,omitempty"`
	Effect string `json:"effect"`
}

// ParseFlags reads --name=value and --name value. Labels of several --node-labels add up; otherwise the last flag wins.
func ParseFlags(args []string) (Flags, error) {
	f := Flags{Kubeconfig: KubeconfigPath, Config: "/etc/kubernetes/kubelet/config.json", CertDir: "/var/lib/kubelet/pki", Labels: map[string]string{}}
	for i := 0; i < len(args); i++ {
		name, value, inline := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		if !inline && i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
			i++
			value = args[i]
		}
		if err := f.set(name, value); err != nil {
			return f, err
		}
	}
	if f.NodeName == "" {
		host, err := os.Hostname()
		if err != nil {
			return f, err
		}
		f.NodeName = strings.ToLower(host)
	}
	return f, nil
}

func (f *Flags) set(name, value string) error {
	switch name {
	case "hostname-override":
		f.NodeName = value
	case "kubeconfig":
		f.Kubeconfig = value
	case "config":
		f.Config = value
	case "config-dir":
		f.ConfigDir = value
	case "cert-dir":
		f.CertDir = value
	case "node-ip":
		if f.NodeIP = net.ParseIP(value); f.NodeIP == nil {
			return fmt.Errorf("invalid --node-ip %q", value)
		}
	case "node-labels":
		for _, pair := range split(value) {
			k, v, _ := strings.Cut(pair, "=")
			f.Labels[k] = v
		}
	case "register-with-taints":
		return f.addTaints(value)
	}
	return nil
}

func (f *Flags) addTaints(list string) error {
	for _, text := range split(list) {
		kv, effect, ok := strings.Cut(text, ":")
		if !ok {
			return fmt.Errorf("invalid taint spec: %s", text)
		}
		k, v, _ := strings.Cut(kv, "=")
		f.Taints = append(f.Taints, Taint{Key: k, Value: v, Effect: effect})
	}
	return nil
}

func split(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}
