package change

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"hybridagent/nodeadm"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// need is what a difference or a damage asks for, from the mildest on.
type need int

const (
	// needNothing: it takes effect without nodeadm.
	needNothing need = iota
	needInit
	needUpgrade
	// needInstall: parts of nodeadm's are missing or damaged.
	needInstall
	needReinstall
	needImage
)

// finding is one thing that differs or is broken.
type finding struct {
	need need
	text string
	// blocks is set on a damage that nodeadm upgrade fails with.
	blocks bool
}

// differences compares what is applied with what is wanted, field by field.
func differences(applied Applied, wanted Wanted, facts Facts) []finding {
	var found []finding
	add := func(need need, format string, args ...any) {
		found = append(found, finding{need: need, text: fmt.Sprintf(format, args...)})
	}
	before, after := inForce(applied, wanted, facts), wanted.Node
	if a, b := imageOf(before), imageOf(after); a != b {
		add(needImage, "operating system image %s → %s", orNone(a), orNone(b))
	}
	if a, b := before.GetClusterName(), after.GetClusterName(); a != "" && a != b {
		add(needReinstall, "cluster %s → %s: only uninstalling takes the former one's kubeconfig, CA and CNI off the host", a, b)
	}
	if a, b := before.GetRegion(), after.GetRegion(); a != "" && a != b {
		add(needReinstall, "Region %s → %s: its credentials hold in one Region only", a, b)
	}
	if a, b := providerOf(applied, facts), nodeadm.Provider(after); a != "" && a != b {
		add(needReinstall, "credential provider %s → %s: nodeadm changes it only by uninstalling", providerName(a), providerName(b))
	}
	if a, b := nodeNameOf(before), nodeNameOf(after); a != "" && b != "" && a != b {
		add(needReinstall, "Node name %s → %s: it is another Node to the cluster", a, b)
	}
	if a, b := sourceOf(applied, facts), nodeadm.ContainerdSource(after); a != "" && a != b {
		add(needReinstall, "containerd source %s → %s: nodeadm chooses it when it installs", a, b)
	}
	found = append(found, versions(applied, wanted, facts)...)
	if a, b := applied.NodeIP, wanted.NodeIP; b != "" && a != b {
		add(needInit, "node IP %s → %s (kubelet's --node-ip)", orNone(a), b)
	}
	if applied.Node == nil {
		return append(found, unrecorded(applied, wanted)...)
	}
	found = append(found, configuration(before, after)...)
	return append(found, live(before, after)...)
}

// inForce is the recorded node part, or what of it can be told from the host. The
// image that is booted goes before the one that is recorded: a boot loader may have
// fallen back, or an operator switched. Where no image is wanted, what the host was
// installed from is its own affair.
func inForce(applied Applied, wanted Wanted, facts Facts) *agentv1.NodeSpec {
	spec := applied.Node
	if spec == nil {
		spec = &agentv1.NodeSpec{ClusterName: facts.Host.Cluster, Region: facts.Host.Region}
	}
	if facts.BootedOSImage == "" || imageOf(wanted.Node) == "" || imageOf(spec) == facts.BootedOSImage {
		return spec
	}
	spec = proto.CloneOf(spec)
	spec.OsImage = &agentv1.OSImage{Uri: facts.BootedOSImage}
	return spec
}

// imageBrings says whether the wanted image has been booted already although the
// record has another: its kubelet is there, and joining with it is all there is to do.
func imageBrings(applied Applied, wanted Wanted, facts Facts) bool {
	image := imageOf(wanted.Node)
	return image != "" && facts.BootedOSImage == image && imageOf(applied.Node) != image
}

// versions compares the version wanted with the one recorded and with that of
// the kubelet on disk: an interrupted upgrade leaves them apart.
func versions(applied Applied, wanted Wanted, facts Facts) []finding {
	need := needUpgrade
	if imageBrings(applied, wanted, facts) {
		need = needInit
	}
	after := wanted.Node.GetKubernetesVersion()
	if before := applied.KubernetesVersion; before != "" && before != after {
		return []finding{{need: need, text: fmt.Sprintf("Kubernetes %s → %s", before, after)}}
	}
	want, ok := parseVersion(after)
	onDisk, known := parseVersion(facts.KubeletVersion)
	if ok && known && onDisk != want {
		return []finding{{need: need, text: fmt.Sprintf("kubelet on disk is %s, not %s", onDisk, want)}}
	}
	return nil
}

// unrecorded says that the configuration in force is not known: it is written
// anew unless the plane's digest says that it is the one wanted.
func unrecorded(applied Applied, wanted Wanted) []finding {
	if applied.NodeDigest != "" && applied.NodeDigest == wanted.NodeDigest {
		return nil
	}
	return []finding{{need: needInit, text: "the configuration in force is not recorded (it was applied by an older version of hybrid-agent, or the record was lost), so it is written anew"}}
}

// configuration compares what nodeadm init writes.
func configuration(before, after *agentv1.NodeSpec) []finding {
	var found []finding
	if names := kubeletFields(before.GetKubeletConfigJson(), after.GetKubeletConfigJson()); len(names) > 0 {
		found = append(found, finding{need: needInit, text: "kubelet configuration: " + few(names) + " changed"})
	}
	if names := flagNames(before.GetKubeletFlags(), after.GetKubeletFlags()); len(names) > 0 {
		found = append(found, finding{need: needInit, text: "kubelet flags: " + few(names) + " changed"})
	}
	if before.GetContainerdConfig() != after.GetContainerdConfig() {
		found = append(found, finding{need: needInit, text: "containerd configuration changed"})
	}
	return append(found, credentials(before.GetAccess(), after.GetAccess())...)
}

// credentials compares credentials of the same provider; the SSM activation code
// is never recorded, and its ID changes with it.
func credentials(before, after *agentv1.AccessManagement) []finding {
	if a, b := before.GetSsm(), after.GetSsm(); a != nil && b != nil && a.GetActivationId() != b.GetActivationId() {
		return []finding{{need: needInit, text: fmt.Sprintf("SSM activation %s → %s (a host that is registered keeps its instance ID)", a.GetActivationId(), b.GetActivationId())}}
	}
	a, b := before.GetIamRolesAnywhere(), after.GetIamRolesAnywhere()
	if a == nil || b == nil {
		return nil
	}
	var names []string
	for _, arn := range []struct{ name, before, after string }{
		{"profile", a.GetProfileArn(), b.GetProfileArn()},
		{"role", a.GetRoleArn(), b.GetRoleArn()},
		{"trust anchor", a.GetTrustAnchorArn(), b.GetTrustAnchorArn()},
	} {
		if arn.before != arn.after {
			names = append(names, arn.name+" ARN")
		}
	}
	if len(names) == 0 {
		return nil
	}
	return []finding{{need: needInit, text: "IAM Roles Anywhere: " + few(names) + " changed"}}
}

// live lists what takes effect without nodeadm.
func live(before, after *agentv1.NodeSpec) []finding {
	var found []finding
	add := func(differs bool, text string) {
		if differs {
			found = append(found, finding{need: needNothing, text: text})
		}
	}
	add(!slices.Equal(before.GetVpcCidrs(), after.GetVpcCidrs()), "VPC CIDRs changed: the daemon's routes follow, nodeadm has no part in it")
	add(!slices.Equal(before.GetVpnServers(), after.GetVpnServers()), "VPN servers changed: the daemon's routes follow, nodeadm has no part in it")
	add(!proto.Equal(before.GetNic(), after.GetNic()), "NIC changed while the node IP stays: the daemon's routes follow, nodeadm has no part in it")
	add(!slices.Equal(before.GetRemoteNodeCidrs(), after.GetRemoteNodeCidrs()), "remote node CIDRs changed: the node IP still lies in them")
	add(before.GetPrivateMode() != after.GetPrivateMode(), "private mode changed: it counts from the next installation or upgrade on")
	add(!proto.Equal(before.GetNodeadm(), after.GetNodeadm()), "nodeadm changed: it is used from the next run on")
	add(!maps.Equal(before.GetRegistrationLabels(), after.GetRegistrationLabels()), "labels changed: they are set on the Node itself, kubelet reads them only when it makes the Node")
	add(!slices.EqualFunc(before.GetRegistrationTaints(), after.GetRegistrationTaints(), func(a, b *agentv1.Taint) bool { return proto.Equal(a, b) }),
		"taints changed: the plane's cluster access or an administrator sets them on the Node, kubelet reads them only when it makes the Node")
	return found
}

// kubeletFields names the top-level fields that differ, sorted.
func kubeletFields(before, after []byte) []string {
	a, aOK := jsonFields(before)
	b, bOK := jsonFields(after)
	if !aOK || !bOK {
		if bytes.Equal(before, after) {
			return nil
		}
		return []string{"all of it"}
	}
	var names []string
	for name, value := range a {
		if other, ok := b[name]; !ok || !reflect.DeepEqual(value, other) {
			names = append(names, name)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func jsonFields(raw []byte) (map[string]any, bool) {
	if len(raw) == 0 {
		return nil, true
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var fields map[string]any
	err := decoder.Decode(&fields)
	return fields, err == nil
}

// flagNames names the flags that differ. Order counts for a flag that is given
// twice only, and kubelet takes the last one.
func flagNames(before, after []string) []string {
	a, b := lastFlags(before), lastFlags(after)
	var names []string
	for name, value := range a {
		if other, ok := b[name]; !ok || other != value {
			names = append(names, name)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func lastFlags(flags []string) map[string]string {
	last := make(map[string]string, len(flags))
	for _, flag := range flags {
		name, _, _ := strings.Cut(flag, "=")
		last[name] = flag
	}
	return last
}
