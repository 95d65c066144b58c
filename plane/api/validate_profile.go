package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"hybridagent/plane/ospack"
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
	r.os(v, p.GetOs(), p.GetKubernetes().GetVersion())
	r.kubernetes(v, p.GetKubernetes())
	switch cni := p.GetNetwork().GetCustomCni(); cni {
	case "", "calico", "dummy":
	default:
		v.add("spec.network.customCni", "%q is neither calico nor dummy; the value is a placeholder, the CNI comes as an add-on of the cluster", cni)
	}
}

func (r *rules) os(v *violations, o *planev1.OSLayer, kubernetes string) {
	drain(v, "spec.os.drain", o.GetDrain())
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
		r.pack(v, o.GetManifest(), kubernetes)
	default:
		v.add("spec.os.mode", "is missing; give agent or appliance")
	}
}

// pack checks the OS pack's manifest of an appliance.
func (r *rules) pack(v *violations, manifest, kubernetes string) {
	if strings.TrimSpace(manifest) == "" {
		v.add("spec.os.manifest", "is empty; mode appliance needs the manifest that the image build printed")
		return
	}
	if !r.version.MatchString(kubernetes) {
		return // told already; the image cannot be compared with it
	}
	_, err := ospack.Parse(manifest, kubernetes)
	var problems ospack.Problems
	switch {
	case errors.As(err, &problems):
		for _, p := range problems {
			v.add("spec.os.manifest", "%s", p)
		}
	case err != nil:
		v.add("spec.os.manifest", "%v", err)
	}
}

// maxDrainSeconds is what hosts take: longer than any operation.
const maxDrainSeconds = 24 * 60 * 60

func drain(v *violations, path string, d *planev1.DrainSpec) {
	if d == nil {
		return
	}
	if d.GetTimeout() > maxDrainSeconds {
		v.add(path+".timeout", "%d is more than %d seconds; 0 is without end, as far as the operation's hour goes", d.GetTimeout(), maxDrainSeconds)
	}
	if d.GetGracePeriod() > maxDrainSeconds {
		v.add(path+".gracePeriod", "%d is more than %d seconds; a negative one is the pod's own", d.GetGracePeriod(), maxDrainSeconds)
	}
	if s := d.SkipWaitForDeleteTimeout; s != nil && (*s == 0 || *s > maxDrainSeconds) {
		v.add(path+".skipWaitForDeleteTimeout", "%d is not 1 to %d seconds", *s, maxDrainSeconds)
	}
}

const (
	maxURLBytes = 2048
	shaBytes    = 64
)

func nodeadm(v *violations, path string, n *planev1.NodeadmSpec) {
	if n == nil {
		return
	}
	u, err := url.Parse(n.GetUrl())
	switch {
	case n.GetUrl() == "":
		v.add(path+".url", "is missing; give where hosts fetch nodeadm, or leave nodeadm out for the one in their image")
	case len(n.GetUrl()) > maxURLBytes:
		v.bytes(path+".url", n.GetUrl(), maxURLBytes)
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		v.add(path+".url", "%q is no https:// or http:// URL", n.GetUrl())
	case u.User != nil:
		v.add(path+".url", "holds a user name or password, which hosts would show; serve the binary without")
	}
	if s := n.GetSha256(); len(s) != shaBytes || strings.Trim(s, "0123456789abcdef") != "" {
		v.add(path+".sha256", "%q is no lowercase hexadecimal SHA-256; take the first word that sha256sum prints", s)
	}
}

func (r *rules) kubernetes(v *violations, k *planev1.KubernetesLayer) {
	const path = "spec.kubernetes"
	if !r.version.MatchString(k.GetVersion()) {
		v.add(path+".version", "%q is no Kubernetes version such as 1.31.5", k.GetVersion())
	}
	nodeadm(v, path+".nodeadm", k.GetNodeadm())
	kubeletFields(v, path+".kubeletConfig", k.GetKubeletConfig().AsMap())
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
