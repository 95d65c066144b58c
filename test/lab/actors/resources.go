package actors

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"text/template"
	"time"
)

// What the demo's operator configures.
const (
	ClusterName       = "lab"
	Region            = "us-west-2"
	KubernetesVersion = "1.31.5"
	// OlderKubernetes is the other version whose artifacts are there, one minor lower.
	OlderKubernetes = "1.30.4"
	ProfileName     = "shop"
	PoolName        = "shop-1"
)

// PoolMember is one host of the node pool.
type PoolMember struct{ HostID, HostName, NIC, VPNServer string }

const clusterTemplate = `apiVersion: hybrid.plane/v1
kind: HybridCluster
metadata: {name: lab}
spec:
  region: us-west-2
  vpcCidrs: [10.100.0.0/16]
  remoteNodeCidrs: [10.200.0.0/16]
  remotePodCidrs: [192.168.128.0/17]
  serviceCidr: 172.20.0.0/16
  apiEndpoint: 10.100.0.10:443
  probeTargets: [10.100.0.1]
  accessManagement:
    iamRolesAnywhere:
      profileArn: arn:aws:rolesanywhere:us-west-2:123456789012:profile/11111111-1111-4111-8111-111111111111
      roleArn: arn:aws:iam::123456789012:role/lab-hybrid-nodes
      trustAnchorArn: arn:aws:rolesanywhere:us-west-2:123456789012:trust-anchor/22222222-2222-4222-8222-222222222222
      caCertificate: |
{{indent .Certificate}}
      caPrivateKey: |
{{indent .Key}}
---
apiVersion: hybrid.plane/v1
kind: HybridProfile
metadata: {name: shop}
spec:
  version: 1.0.0
  os: {mode: agent}
  kubernetes:
    version: 1.31.5
    kubeletConfig: {maxPods: 60}
    containerdSource: none
  network: {customCni: dummy}
`

const profileTemplate = `apiVersion: hybrid.plane/v1
kind: HybridProfile
metadata: {name: shop}
spec:
  version: {{.Version}}
  os:
    mode: agent
    drain: {timeout: {{.DrainSeconds}}}
  kubernetes:
    version: {{.Kubernetes}}
    kubeletConfig: {maxPods: {{.MaxPods}}}
    containerdSource: none
  network: {customCni: dummy}
`

const poolTemplate = `apiVersion: hybrid.plane/v1
kind: NodePool
metadata: {name: shop-1}
spec:
  cluster: lab
  profile: shop
  profileVersion: {{.ProfileVersion}}
  architecture: {{.Architecture}}
  labels: {site: shop-1}
  taints: [{key: site, value: shop-1, effect: NoSchedule}]
  ntpServers: [203.0.113.20]
  hosts:
{{- range .Hosts}}
    - hostId: {{.HostID}}
      hostName: {{.HostName}}
      nic: {{.NIC}}
{{- if .VPNServer}}
      vpnServers: [{{.VPNServer}}]
{{- end}}
{{- end}}
`

// ClusterYAML is the HybridCluster and the HybridProfile, with a new CA for IAM Roles Anywhere.
func ClusterYAML() (string, error) {
	certificate, key, err := rolesAnywhereCA()
	if err != nil {
		return "", fmt.Errorf("cannot make the CA for IAM Roles Anywhere: %w", err)
	}
	return render(clusterTemplate, struct{ Certificate, Key string }{certificate, key})
}

// FirstProfileVersion is the version of the profile that ClusterYAML brings.
const FirstProfileVersion = "1.0.0"

// Profile is another version of the profile.
type Profile struct {
	// Version of the profile, Kubernetes of its Kubernetes layer.
	Version, Kubernetes string
	// MaxPods is kubelet's; DrainSeconds the drain's timeout.
	MaxPods, DrainSeconds int
}

// ProfileYAML is that version of the HybridProfile.
func ProfileYAML(profile Profile) (string, error) { return render(profileTemplate, profile) }

// PoolYAML is the NodePool with these hosts and the first version of the profile; architecture is AMD64 or ARM64.
func PoolYAML(architecture string, hosts []PoolMember) (string, error) {
	return PoolYAMLOf(architecture, FirstProfileVersion, hosts)
}

// PoolYAMLOf is PoolYAML with that version of the profile.
func PoolYAMLOf(architecture, profileVersion string, hosts []PoolMember) (string, error) {
	return render(poolTemplate, struct {
		Architecture, ProfileVersion string
		Hosts                        []PoolMember
	}{architecture, profileVersion, hosts})
}

func render(text string, data any) (string, error) {
	indent := func(s string) string {
		return "        " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n        ")
	}
	t, err := template.New("").Funcs(template.FuncMap{"indent": indent}).Parse(text)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	if err := t.Execute(&out, data); err != nil {
		return "", err
	}
	return out.String(), nil
}

// rolesAnywhereCA makes the CA whose certificate the trust anchor would hold, in PEM.
func rolesAnywhereCA() (certificate, key string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		Subject:               pkix.Name{CommonName: "lab Roles Anywhere CA"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return "", "", err
	}
	keyDER, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		return "", "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})), nil
}
