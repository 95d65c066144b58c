package operation_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"hybridagent/agent/operation"
	"hybridagent/agent/operation/optest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

const (
	malformed    = agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_MALFORMED
	unsigned     = agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_UNSIGNED
	foreign      = agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_FOREIGN
	precondition = agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_PRECONDITION
	unknownKind  = agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_UNKNOWN_KIND
)

func TestVerifyAccepts(t *testing.T) {
	ca := optest.NewAuthority(t)
	op, err := operation.Verify(ca.Sign(t, optest.Operation(1)), ca.Trust(), time.Now())
	if err != nil || op.GetId() != optest.Operation(1).GetId() {
		t.Fatalf("Verify = %v, %v", op, err)
	}
}

// TestVerifyRefuses is every way in which an operation can be wrong, and what
// an operator reads of it.
func TestVerifyRefuses(t *testing.T) {
	ca, other := optest.NewAuthority(t), optest.NewAuthority(t)
	signed := func(change func(*agentv1.Operation)) *agentv1.SignedOperation {
		op := optest.Operation(1)
		change(op)
		return ca.Sign(t, op)
	}
	envelope := func(change func(*agentv1.SignedOperation)) *agentv1.SignedOperation {
		env := ca.Sign(t, optest.Operation(1))
		change(env)
		return env
	}
	public := ca.Signer.Public()
	chain := func(leaf []byte) *agentv1.SignedOperation {
		return envelope(func(e *agentv1.SignedOperation) { e.Chain = [][]byte{leaf, ca.Chain[1]} })
	}
	soon, hour := time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	for _, c := range []struct {
		name     string
		env      *agentv1.SignedOperation
		reason   agentv1.DoorRefusalReason
		fragment string
	}{
		{"nothing", nil, malformed, "holds no operation"},
		{"too large", envelope(func(e *agentv1.SignedOperation) { e.Operation = make([]byte, agentv1.MaxOperationBytes+1) }), malformed, "more than"},
		{"no signature", envelope(func(e *agentv1.SignedOperation) { e.Signature = nil }), unsigned, "is not signed"},
		{"another context", envelope(func(e *agentv1.SignedOperation) { e.Context = "something else" }), unsigned, "was made for"},
		{"changed bytes", envelope(func(e *agentv1.SignedOperation) { e.Operation[len(e.Operation)-1] ^= 1 }), unsigned, "forged"},
		{"changed signature", envelope(func(e *agentv1.SignedOperation) { e.Signature[0] ^= 1 }), unsigned, "forged"},
		{"no chain", envelope(func(e *agentv1.SignedOperation) { e.Chain = nil }), unsigned, "0 certificates"},
		{"huge chain", envelope(func(e *agentv1.SignedOperation) { e.Chain = append(e.Chain, make([]byte, 17<<10)) }), malformed, "certificates have"},
		{"another CA", other.Sign(t, optest.Operation(1)), unsigned, "check plane.caPin"},
		{"another CA, ours appended", withCA(other.Sign(t, optest.Operation(1)), ca), unsigned, "not issued by the pinned CA"},
		{"the CA signs itself", chain(ca.Chain[1]), unsigned, "with a CA certificate"},
		{"certificate without the URI", chain(ca.Issue(t, public, "", soon, hour)), unsigned, "lacks the URI"},
		{"certificate of a host", chain(ca.Issue(t, public, "hybrid://host/"+optest.HostID, soon, hour)), unsigned, "lacks the URI"},
		{"ECDSA key", chain(ca.Issue(t, ecdsaKey(t), agentv1.SigningCertificateURI, soon, hour)), unsigned, "not Ed25519"},
		{"another Ed25519 key", chain(ca.Issue(t, ed25519Key(t), agentv1.SigningCertificateURI, soon, hour)), unsigned, "forged"},
		{"expired, or the clock is wrong", chain(ca.Issue(t, public, agentv1.SigningCertificateURI, soon.Add(-time.Hour), soon)), precondition, "correct the host's clock"},
		{"signed garbage", garbage(t, ca), malformed, "cannot be parsed"},
		{"another host", signed(func(o *agentv1.Operation) { o.HostId = "edge-9" }), foreign, `for host "edge-9"`},
		{"unknown kind", signed(func(o *agentv1.Operation) { o.Kind = 99 }), unknownKind, "kind 99"},
		{"bad ID", signed(func(o *agentv1.Operation) { o.Id = "../../../../etc/passwd" }), malformed, "26 lowercase"},
		{"no sequence", signed(func(o *agentv1.Operation) { o.Sequence = nil }), malformed, "no sequence"},
		{"no node part", signed(func(o *agentv1.Operation) { o.Node = nil }), malformed, "no node part"},
		{"bad node IP", signed(func(o *agentv1.Operation) { o.NodeIp = "::1" }), malformed, "no IPv4 address"},
		{"endless", signed(func(o *agentv1.Operation) { o.Deadline = durationpb.New(5 * time.Hour) }), malformed, "deadline"},
	} {
		t.Run(c.name, func(t *testing.T) {
			op, err := operation.Verify(c.env, ca.Trust(), time.Now())
			var refusal *operation.Refusal
			if !errors.As(err, &refusal) || op != nil {
				t.Fatalf("Verify = %v, %v, want a refusal", op, err)
			}
			if refusal.Reason != c.reason || !strings.Contains(refusal.Message, c.fragment) {
				t.Errorf("refusal = %v %q, want %v with %q", refusal.Reason, refusal.Message, c.reason, c.fragment)
			}
		})
	}
}

func withCA(env *agentv1.SignedOperation, ca *optest.Authority) *agentv1.SignedOperation {
	return &agentv1.SignedOperation{
		Operation: env.GetOperation(), Signature: env.GetSignature(), Context: env.GetContext(), Chain: append(env.GetChain(), ca.Chain[1]),
	}
}

func garbage(t *testing.T, ca *optest.Authority) *agentv1.SignedOperation {
	t.Helper()
	env := ca.Sign(t, optest.Operation(1))
	env.Operation = []byte("\xff\xff\xff not a message")
	env.Signature = ed25519.Sign(ca.Signer, agentv1.SigningInput(env.GetContext(), env.GetOperation()))
	return env
}

func ecdsaKey(t *testing.T) any {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &key.PublicKey
}

func ed25519Key(t *testing.T) any {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return public
}

func TestPin(t *testing.T) {
	ca := optest.NewAuthority(t)
	pin := operation.PinOf(ca.Cert)
	if got, err := operation.ParsePin(pin.String()); err != nil || got != pin {
		t.Errorf("ParsePin(%s) = %v, %v", pin, got, err)
	}
	for _, bad := range []string{"", "sha256:", "sha256:00", "md5:" + strings.Repeat("0", 64), "sha256:" + strings.Repeat("x", 64)} {
		if _, err := operation.ParsePin(bad); err == nil {
			t.Errorf("ParsePin(%q) is accepted", bad)
		}
	}
}
