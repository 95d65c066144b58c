package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"hybridagent/agent/operation"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

const (
	// forgeCommand is the hidden subcommand that the demo runs on an edge host as the daemon's user.
	forgeCommand = "forge"
	// demoOnHost is where edge hosts have this program.
	demoOnHost = "/usr/local/libexec/hybrid-lab/demo"
)

// forge hands the door an operation with a signature by a key that the plane's CA never certified, beside the plane's real CA certificate,
// and prints the refusal. That it is taken, or fails for another reason, is the error.
func forge(ctx context.Context, socket, hostID, caFile string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	envelope, err := forgedOperation(hostID, caFile)
	if err != nil {
		return fmt.Errorf("cannot forge an operation: %w", err)
	}
	progress, err := operation.NewClient(socket).Submit(ctx, envelope, nil)
	var refusal *operation.Refusal
	if errors.As(err, &refusal) {
		fmt.Println(refusal.Message)
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot hand over the forged operation: %w", err)
	}
	return fmt.Errorf("the forged operation was taken: %v", progress.GetState())
}

func forgedOperation(hostID, caFile string) (*agentv1.SignedOperation, error) {
	data, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("no certificate in %s", caFile)
	}
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	certificate, private, err := forgedSigner(ca)
	if err != nil {
		return nil, err
	}
	encoded, err := proto.Marshal(&agentv1.Operation{
		Id:       "forgedforgedforgedforged00",
		HostId:   hostID,
		Kind:     agentv1.OperationKind_OPERATION_KIND_PROVISION,
		Sequence: &agentv1.Sequence{Epoch: 1 << 40, Counter: 1},
		SignedAt: timestamppb.Now(),
	})
	if err != nil {
		return nil, err
	}
	return &agentv1.SignedOperation{
		Operation: encoded,
		Signature: ed25519.Sign(private, agentv1.SigningInput(agentv1.OperationContext, encoded)),
		Context:   agentv1.OperationContext,
		Chain:     [][]byte{certificate, block.Bytes},
	}, nil
}

// forgedSigner is a signing certificate that names the plane's CA as its issuer, but is signed by another key.
func forgedSigner(ca *x509.Certificate) (certificate []byte, private ed25519.PrivateKey, err error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	forger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	uri, err := url.Parse(agentv1.SigningCertificateURI)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: "forger"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		URIs:         []*url.URL{uri},
	}
	issuer := &x509.Certificate{RawSubject: ca.RawSubject, SubjectKeyId: ca.SubjectKeyId, PublicKey: &forger.PublicKey}
	certificate, err = x509.CreateCertificate(rand.Reader, template, issuer, public, forger)
	return certificate, private, err
}
