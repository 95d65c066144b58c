package planetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"hybridagent/plane/kind"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// Site is a cluster, a profile version and a pool that fit together.
type Site struct {
	Cluster, Profile, Pool *planev1.Resource
}

// NewSite makes a site whose pool holds the hosts.
func NewSite(t testing.TB, hosts ...string) *Site {
	t.Helper()
	cert, key := NodeCA(t)
	s := &Site{
		Cluster: resource(kind.Cluster, "lab"), Profile: resource(kind.Profile, "shop"), Pool: resource(kind.Pool, "shop-1"),
	}
	s.Cluster.Spec = &planev1.Resource_HybridCluster{HybridCluster: &planev1.HybridClusterSpec{
		Region: "us-west-2", VpcCidrs: []string{"10.100.0.0/16"}, RemoteNodeCidrs: []string{"10.200.0.0/16"},
		RemotePodCidrs: []string{"192.168.128.0/17"}, ServiceCidr: "172.20.0.0/16",
		ApiEndpoint: "10.100.0.10:443", ProbeTargets: []string{"10.100.0.1"},
		AccessManagement: &planev1.AccessManagementSpec{Method: &planev1.AccessManagementSpec_IamRolesAnywhere{IamRolesAnywhere: &planev1.IAMRolesAnywhereSpec{
			ProfileArn:     "arn:aws:rolesanywhere:us-west-2:123456789012:profile/p",
			RoleArn:        "arn:aws:iam::123456789012:role/r",
			TrustAnchorArn: "arn:aws:rolesanywhere:us-west-2:123456789012:trust-anchor/t",
			CaCertificate:  cert, CaPrivateKey: key,
		}}},
	}}
	s.Profile.Spec = &planev1.Resource_HybridProfile{HybridProfile: &planev1.HybridProfileSpec{
		Version: "1.0.0", Os: &planev1.OSLayer{Mode: planev1.OSMode_OS_MODE_AGENT},
		Kubernetes: &planev1.KubernetesLayer{Version: "1.31.5"}, Network: &planev1.NetworkLayer{CustomCni: "dummy"},
	}}
	pool := &planev1.NodePoolSpec{
		Cluster: "lab", Profile: "shop", ProfileVersion: "1.0.0", Architecture: "AMD64",
		Labels: map[string]string{"site": "shop-1"}, Taints: []*planev1.TaintSpec{{Key: "site", Value: "shop-1", Effect: "NoSchedule"}},
		NtpServers: []string{"203.0.113.20"},
	}
	for _, h := range hosts {
		pool.Hosts = append(pool.Hosts, &planev1.PoolHost{HostId: h, Nic: "auto", VpnServers: []string{"10.200.0.2"}})
	}
	s.Pool.Spec = &planev1.Resource_NodePool{NodePool: pool}
	return s
}

// All are the resources of the site, in the order in which they refer to one
// another.
func (s *Site) All() []*planev1.Resource {
	return []*planev1.Resource{s.Cluster, s.Profile, s.Pool}
}

// Apply applies resources and fails the test if the plane refuses.
func (p *Plane) Apply(resources ...*planev1.Resource) {
	p.t.Helper()
	if _, err := p.Operator().ApplyBatch(p.t.Context(), &planev1.ApplyBatchRequest{Resources: resources}); err != nil {
		p.t.Fatal(err)
	}
}

func resource(of, name string) *planev1.Resource {
	return &planev1.Resource{ApiVersion: kind.APIVersion, Kind: of, Metadata: &planev1.Metadata{Name: name}}
}

// NodeCA makes the CA of an IAM Roles Anywhere trust anchor, PEM.
func NodeCA(t testing.TB) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "nodes"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}
