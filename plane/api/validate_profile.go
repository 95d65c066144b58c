package api

import (
	"encoding/json"
	"fmt"
	"strings"

	yaml "github.com/goccy/go-yaml"

	planev1 "hybridagent/proto/hybrid/plane/v1"
)

const (
	maxFlags       = 64
	maxFlagBytes   = 1024
	maxConfigBytes = 64 << 10
)

func (r *rules) profile(v *violations, p *planev1.HybridProfileSpec) {
	if !r.profileVersion.MatchString(p.GetVersion()) {
		v.add("spec.version", "%q is no version such as 1.0.0", p.GetVersion())
	}
	r.os(v, p.GetOs())
	r.kubernetes(v, p.GetKubernetes())
	switch cni := p.GetNetwork().GetCustomCni(); cni {
	case "", "calico", "dummy":
	default:
		v.add("spec.network.customCni", "%q is neither calico nor dummy; the value is a placeholder, the CNI comes as an add-on of the cluster", cni)
	}
}

func (r *rules) os(v *violations, o *planev1.OSLayer) {
	if len(o.GetManifest()) > maxConfigBytes {
		// Not parsed: what is too large costs nothing more.
		v.bytes("spec.os.manifest", o.GetManifest(), maxConfigBytes)
		return
	}
	switch o.GetMode() {
	case planev1.OSMode_OS_MODE_AGENT:
		if o.GetManifest() != "" {
			v.add("spec.os.manifest", "is for mode appliance only; in mode agent the host's own OS stays")
		}
	case planev1.OSMode_OS_MODE_APPLIANCE:
		var doc map[string]any
		if err := yaml.Unmarshal([]byte(o.GetManifest()), &doc); err != nil {
			v.add("spec.os.manifest", "is no YAML: %v", err)
		} else if len(doc) == 0 {
			v.add("spec.os.manifest", "is empty; mode appliance needs the manifest that the image build printed")
		}
	default:
		v.add("spec.os.mode", "is missing; give agent or appliance")
	}
}

func (r *rules) kubernetes(v *violations, k *planev1.KubernetesLayer) {
	const path = "spec.kubernetes"
	if !r.version.MatchString(k.GetVersion()) {
		v.add(path+".version", "%q is no Kubernetes version such as 1.31.5", k.GetVersion())
	}
	v.count(path+".kubeletFlags", len(k.GetKubeletFlags()), 0, maxFlags)
	for i, f := range k.GetKubeletFlags() {
		v.bytes(fmt.Sprintf("%s.kubeletFlags[%d]", path, i), f, maxFlagBytes)
		r.kubeletFlag(v, fmt.Sprintf("%s.kubeletFlags[%d]", path, i), f)
	}
	if b, err := json.Marshal(k.GetKubeletConfig().AsMap()); err != nil {
		v.add(path+".kubeletConfig", "is no JSON object: %v", err)
	} else {
		v.bytes(path+".kubeletConfig", string(b), maxConfigBytes) // as hosts get it
	}
	v.bytes(path+".containerdConfig", k.GetContainerdConfig(), maxConfigBytes)
	switch s := k.GetContainerdSource(); s {
	case "", "none", "distro", "docker":
	default:
		v.add(path+".containerdSource", "%q is none of none, distro, docker", s)
	}
}

// kubeletFlag refuses what kubelet would not read as one flag, and the flags
// that the agent sets from the pool and the selected NIC.
func (r *rules) kubeletFlag(v *violations, path, flag string) {
	if !r.flag.MatchString(flag) {
		v.add(path, "%q is no flag in one word such as --v=2", flag)
		return
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(flag, "--"), "=")
	switch name {
	case "node-ip", "node-labels", "register-with-taints", "hostname-override":
		v.add(path, "--%s is set by the agent; use the NodePool's nic, labels and taints", name)
	}
}
