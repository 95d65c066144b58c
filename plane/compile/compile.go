package compile

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// probeInterval is how often hosts probe the path.
const probeInterval = 30 * time.Second

// NICAuto leaves the choice of the NIC to the host.
const NICAuto = "auto"

// Input is what an assignment is made of; resources as stored and validated,
// secrets decrypted.
type Input struct {
	// HostID of the host that the assignment is for.
	HostID string
	// Pool that the host is in; nil: none, and nothing else is read.
	Pool *planev1.Resource
	// Host is the pool's entry for this host.
	Host *planev1.PoolHost
	// Cluster of the pool.
	Cluster *planev1.Resource
	// Profile version of the pool.
	Profile *planev1.Resource
}

// Output is a compiled assignment.
type Output struct {
	// Assignment as a message; not to be changed.
	Assignment *agentv1.Assignment
	// Bytes are its encoding: what travels.
	Bytes []byte
	// Digest is the lowercase hexadecimal SHA-256 of Bytes.
	Digest string
	// Drain options of the profile, every field set; nil: the host is in no pool. No
	// part of the assignment: they are read when an operation is signed.
	Drain *agentv1.DrainOptions
	// ActivationCode of Systems Manager; empty: another access management. Secret, and no
	// part of the assignment either: a host is given it by the operation that uses it,
	// and keeps it no longer.
	ActivationCode string
}

var deterministic = proto.MarshalOptions{Deterministic: true}

// Compile makes the assignment of a host. It fails only on resources that
// validation should have refused.
func Compile(in Input) (Output, error) {
	a := &agentv1.Assignment{HostId: in.HostID}
	var drain *agentv1.DrainOptions
	code := ""
	if in.Pool != nil {
		if err := fill(a, in); err != nil {
			return Output{}, fmt.Errorf("cannot compile the assignment of host %s: %w", in.HostID, err)
		}
		drain = Drain(drainSpec(in.Profile.GetHybridProfile()))
		code = in.Cluster.GetHybridCluster().GetAccessManagement().GetSystemsManager().GetActivationCode()
	}
	b, err := deterministic.Marshal(a)
	if err != nil {
		return Output{}, fmt.Errorf("cannot encode the assignment of host %s: %w", in.HostID, err)
	}
	if len(b) > agentv1.MaxAssignmentBytes {
		return Output{}, fmt.Errorf("cannot compile the assignment of host %s: %d bytes, at most %d are allowed; shorten kubeletConfig or containerdConfig of the profile",
			in.HostID, len(b), agentv1.MaxAssignmentBytes)
	}
	sum := sha256.Sum256(b)
	return Output{Assignment: a, Bytes: b, Digest: hex.EncodeToString(sum[:]), Drain: drain, ActivationCode: code}, nil
}

func fill(a *agentv1.Assignment, in Input) error {
	cluster, pool, profile := in.Cluster.GetHybridCluster(), in.Pool.GetNodePool(), in.Profile.GetHybridProfile()
	if cluster == nil || pool == nil || profile == nil || in.Host == nil {
		return fmt.Errorf("pool %q refers to a cluster or profile version that does not exist", in.Pool.GetMetadata().GetName())
	}
	a.Pool = in.Pool.GetMetadata().GetName()
	a.Architecture = architecture(pool.GetArchitecture())
	a.Network = &agentv1.NetworkSpec{
		VpcCidrs:        cluster.GetVpcCidrs(),
		VpnServers:      in.Host.GetVpnServers(),
		RemoteNodeCidrs: cluster.GetRemoteNodeCidrs(),
		RemotePodCidrs:  cluster.GetRemotePodCidrs(),
		ServiceCidr:     cluster.GetServiceCidr(),
		Nic:             nicSelector(in.Host.GetNic()),
	}
	a.Probes = &agentv1.ProbeSpec{
		ApiEndpoint:    cluster.GetApiEndpoint(),
		Targets:        cluster.GetProbeTargets(),
		Interval:       durationpb.New(probeInterval),
		EndpointAccess: cluster.GetEndpointAccess(),
	}
	a.Time = &agentv1.TimeSpec{NtpServers: pool.GetNtpServers()}
	a.Labels = pool.GetLabels()
	a.Taints = taints(pool.GetTaints())
	node, err := nodeSpec(in, cluster, pool, profile.GetKubernetes())
	if err != nil {
		return err
	}
	a.Node = node
	a.NodeDigest, err = nodeDigest(node, a.Network, cluster.GetAccessManagement())
	return err
}

func nodeSpec(in Input, cluster *planev1.HybridClusterSpec, pool *planev1.NodePoolSpec, k8s *planev1.KubernetesLayer) (*agentv1.NodeSpec, error) {
	kubelet, err := kubeletJSON(k8s)
	if err != nil {
		return nil, err
	}
	image, err := osImage(in.Profile.GetHybridProfile())
	if err != nil {
		return nil, err
	}
	name := cluster.GetClusterName()
	if name == "" {
		name = in.Cluster.GetMetadata().GetName()
	}
	return &agentv1.NodeSpec{
		ClusterName:        name,
		Region:             cluster.GetRegion(),
		KubernetesVersion:  k8s.GetVersion(),
		KubeletConfigJson:  kubelet,
		KubeletFlags:       k8s.GetKubeletFlags(),
		ContainerdConfig:   k8s.GetContainerdConfig(),
		ContainerdSource:   k8s.GetContainerdSource(),
		PrivateMode:        k8s.PrivateMode == nil || k8s.GetPrivateMode(),
		Access:             access(cluster.GetAccessManagement(), in.HostID),
		RegistrationLabels: pool.GetLabels(),
		RegistrationTaints: taints(pool.GetTaints()),
		VpcCidrs:           cluster.GetVpcCidrs(),
		VpnServers:         in.Host.GetVpnServers(),
		RemoteNodeCidrs:    cluster.GetRemoteNodeCidrs(),
		Nic:                nicSelector(in.Host.GetNic()),
		OsImage:            image,
		Nodeadm:            nodeadm(k8s.GetNodeadm()),
	}, nil
}

func nodeadm(spec *planev1.NodeadmSpec) *agentv1.NodeadmSource {
	if spec == nil {
		return nil
	}
	return &agentv1.NodeadmSource{Url: spec.GetUrl(), Sha256: spec.GetSha256()}
}

// nodeDigest tells one node part from another. It covers what takes effect only
// by an operation: the node part but for labels and taints, which are live; the
// network part, whose pod and service CIDRs the node part does not repeat; and
// the CA that signs nodes' certificates, which hosts are not sent.
func nodeDigest(node *agentv1.NodeSpec, network *agentv1.NetworkSpec, access *planev1.AccessManagementSpec) (string, error) {
	n := proto.CloneOf(node)
	n.RegistrationLabels, n.RegistrationTaints = nil, nil
	authority := &planev1.IAMRolesAnywhereSpec{CaCertificate: access.GetIamRolesAnywhere().GetCaCertificate()}
	h := sha256.New()
	for _, m := range []proto.Message{n, network, authority} {
		b, err := deterministic.Marshal(m)
		if err != nil {
			return "", fmt.Errorf("cannot encode %s: %w", m.ProtoReflect().Descriptor().Name(), err)
		}
		fmt.Fprintf(h, "%d:", len(b))
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// kubeletJSON goes through encoding/json, whose maps are sorted; protojson
// varies its white space on purpose.
func kubeletJSON(k8s *planev1.KubernetesLayer) ([]byte, error) {
	if len(k8s.GetKubeletConfig().GetFields()) == 0 {
		return nil, nil
	}
	b, err := json.Marshal(k8s.GetKubeletConfig().AsMap())
	if err != nil {
		return nil, fmt.Errorf("cannot encode kubeletConfig: %w", err)
	}
	return b, nil
}

func access(in *planev1.AccessManagementSpec, hostID string) *agentv1.AccessManagement {
	if ssm := in.GetSystemsManager(); ssm != nil {
		return &agentv1.AccessManagement{Method: &agentv1.AccessManagement_Ssm{Ssm: &agentv1.SSMAccess{
			ActivationId: ssm.GetActivationId(),
		}}}
	}
	ra := in.GetIamRolesAnywhere()
	return &agentv1.AccessManagement{Method: &agentv1.AccessManagement_IamRolesAnywhere{IamRolesAnywhere: &agentv1.RolesAnywhereAccess{
		ProfileArn:     ra.GetProfileArn(),
		RoleArn:        ra.GetRoleArn(),
		TrustAnchorArn: ra.GetTrustAnchorArn(),
		NodeName:       hostID,
	}}}
}

// nicSelector takes what net.ParseMAC reads as a MAC address, and anything else
// as a name.
func nicSelector(nic string) *agentv1.NICSelector {
	if nic == "" || nic == NICAuto {
		return &agentv1.NICSelector{}
	}
	if mac, err := net.ParseMAC(nic); err == nil {
		return &agentv1.NICSelector{Mac: mac.String()}
	}
	return &agentv1.NICSelector{Name: nic}
}

func architecture(name string) agentv1.Architecture {
	return agentv1.Architecture(agentv1.Architecture_value["ARCHITECTURE_"+name])
}

func taints(in []*planev1.TaintSpec) []*agentv1.Taint {
	out := make([]*agentv1.Taint, 0, len(in))
	for _, t := range in {
		out = append(out, &agentv1.Taint{Key: t.GetKey(), Value: t.GetValue(), Effect: t.GetEffect()})
	}
	return out
}
