// Package optest makes what tests of operations need: a CA, a signing
// certificate, signed operations. Nothing that is shipped imports it.
package optest

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"hybridagent/agent/operation"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// HostID is the host that Operation is for.
const HostID = "edge-test-1"

// Authority is a plane's CA with its signing key.
type Authority struct {
	Cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	Signer ed25519.PrivateKey
	Chain  [][]byte
}

// NewAuthority makes a CA and a signing certificate that is valid now.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test plane CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a := &Authority{key: key}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if a.Cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a.Signer = private
	leaf := a.Issue(t, public, agentv1.SigningCertificateURI, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	a.Chain = [][]byte{leaf, der}
	return a
}

// Issue makes a DER certificate with a URI SAN; an empty uri makes none.
func (a *Authority) Issue(t testing.TB, public any, uri string, from, until time.Time) []byte {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "operation signing"},
		NotBefore: from, NotAfter: until, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if uri != "" {
		parsed, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		template.URIs = []*url.URL{parsed}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.Cert, public, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// NodeCertificate signs a node's CSR with the given name.
func (a *Authority) NodeCertificate(t testing.TB, csr []byte, name string) []byte {
	t.Helper()
	request, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.Cert, request.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// Trust is a host's trust in this CA.
func (a *Authority) Trust() operation.Trust {
	return operation.Trust{Pins: []operation.Pin{operation.PinOf(a.Cert)}, HostID: HostID}
}

// Sign makes the envelope of an operation.
func (a *Authority) Sign(t testing.TB, op *agentv1.Operation) *agentv1.SignedOperation {
	t.Helper()
	encoded, err := proto.Marshal(op)
	if err != nil {
		t.Fatal(err)
	}
	return &agentv1.SignedOperation{
		Operation: encoded,
		Context:   agentv1.OperationContext,
		Signature: ed25519.Sign(a.Signer, agentv1.SigningInput(agentv1.OperationContext, encoded)),
		Chain:     a.Chain,
	}
}

// Operation is a provision operation in order, the n-th of its host.
func Operation(n uint64) *agentv1.Operation {
	return &agentv1.Operation{
		Id:         fmt.Sprintf("%026d", n),
		HostId:     HostID,
		Kind:       agentv1.OperationKind_OPERATION_KIND_PROVISION,
		Sequence:   &agentv1.Sequence{Epoch: 1, Counter: n},
		Node:       NodeSpec(),
		NodeDigest: strings.Repeat("ab", 32),
		NodeIp:     "127.0.0.1",
	}
}

// NodeSpec is a node part in order, whose remote node CIDR holds the loopback
// address.
func NodeSpec() *agentv1.NodeSpec {
	return &agentv1.NodeSpec{
		ClusterName:       "lab",
		Region:            "us-west-2",
		KubernetesVersion: "1.31.5",
		KubeletConfigJson: []byte(`{"maxPods": 42, "imageMaximumGCAge": "10h"}`),
		KubeletFlags:      []string{"--v=2"},
		ContainerdSource:  "none",
		PrivateMode:       true,
		Access: &agentv1.AccessManagement{Method: &agentv1.AccessManagement_IamRolesAnywhere{
			IamRolesAnywhere: &agentv1.RolesAnywhereAccess{
				ProfileArn:     "arn:aws:rolesanywhere:us-west-2:111122223333:profile/p",
				RoleArn:        "arn:aws:iam::111122223333:role/hybrid",
				TrustAnchorArn: "arn:aws:rolesanywhere:us-west-2:111122223333:trust-anchor/t",
				NodeName:       HostID,
			}}},
		RegistrationLabels: map[string]string{"site": "store-17", "app": "till"},
		RegistrationTaints: []*agentv1.Taint{{Key: "edge", Value: "yes", Effect: "NoSchedule"}},
		VpcCidrs:           []string{"10.100.0.0/16"},
		RemoteNodeCidrs:    []string{"127.0.0.0/8"},
	}
}

// Of is an operation in order of any kind that root runs, the n-th of its host. An
// abort ends the one before it.
func Of(n uint64, kind agentv1.OperationKind) *agentv1.Operation {
	op := Operation(n)
	op.Kind = kind
	switch kind {
	case agentv1.OperationKind_OPERATION_KIND_LEAVE:
		op.Node, op.NodeDigest, op.NodeIp = nil, "", ""
	case agentv1.OperationKind_OPERATION_KIND_ABORT:
		op.Node, op.NodeDigest, op.NodeIp = nil, "", ""
		op.Abort = &agentv1.AbortOrder{OperationId: Operation(n - 1).GetId()}
	}
	return op
}

// Resign signs what the envelope holds now.
func (a *Authority) Resign(env *agentv1.SignedOperation) {
	env.Signature = ed25519.Sign(a.Signer, agentv1.SigningInput(env.GetContext(), env.GetOperation()))
}
