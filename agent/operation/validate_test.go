package operation_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"hybridagent/agent/operation"
	"hybridagent/agent/operation/optest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

const (
	provision   = agentv1.OperationKind_OPERATION_KIND_PROVISION
	liveSwitch  = agentv1.OperationKind_OPERATION_KIND_LIVE_NETWORK_SWITCH
	repave      = agentv1.OperationKind_OPERATION_KIND_REPAVE
	reconfigure = agentv1.OperationKind_OPERATION_KIND_RECONFIGURE
	leave       = agentv1.OperationKind_OPERATION_KIND_LEAVE
	abort       = agentv1.OperationKind_OPERATION_KIND_ABORT
)

var kindsOfRoot = []agentv1.OperationKind{provision, repave, reconfigure, leave, abort}

// drain is the default of every drain option.
func drain() *agentv1.DrainOptions {
	return &agentv1.DrainOptions{
		Cordon: true, Timeout: durationpb.New(time.Minute), GracePeriodSeconds: 60, IgnoreDaemonSets: true, DeleteLocalData: true, Force: true,
		SkipWaitForDeleteTimeout: durationpb.New(time.Minute),
	}
}

// verified signs an operation and checks it as root does.
func verified(t *testing.T, ca *optest.Authority, op *agentv1.Operation) *operation.Refusal {
	t.Helper()
	_, err := operation.Verify(ca.Sign(t, op), ca.Trust(), time.Now())
	var refusal *operation.Refusal
	if err != nil && !errors.As(err, &refusal) {
		t.Fatalf("Verify = %v, which is no refusal", err)
	}
	return refusal
}

func TestEveryKindIsAccepted(t *testing.T) {
	t.Parallel()
	ca := optest.NewAuthority(t)
	for _, kind := range kindsOfRoot {
		if refusal := verified(t, ca, optest.Of(2, kind)); refusal != nil {
			t.Errorf("%s: %v", operation.KindName(kind), refusal)
		}
	}
}

// TestPartsOfKinds is what each kind may carry: every other part is refused, and
// the refusal names it.
func TestPartsOfKinds(t *testing.T) {
	t.Parallel()
	ca := optest.NewAuthority(t)
	node := func(op *agentv1.Operation) { op.Node = optest.NodeSpec() }
	digest := func(op *agentv1.Operation) { op.NodeDigest = strings.Repeat("ab", 32) }
	address := func(op *agentv1.Operation) { op.NodeIp = "10.0.0.1" }
	image := func(op *agentv1.Operation) {
		if op.Node != nil {
			op.Node.OsImage = &agentv1.OSImage{Uri: "registry.example/ubuntu:v1"}
		}
		op.OsImageDigest = "sha256:" + strings.Repeat("0a", 32)
	}
	drained := func(op *agentv1.Operation) { op.Drain = drain() }
	force := func(op *agentv1.Operation) { op.Force = true }
	network := func(op *agentv1.Operation) {
		op.NetworkSwitch = &agentv1.NetworkSwitch{VpnServers: []string{"10.0.0.2"}}
	}
	ends := func(op *agentv1.Operation) {
		op.Abort = &agentv1.AbortOrder{OperationId: optest.Operation(1).GetId()}
	}
	for _, part := range []struct {
		name string
		add  func(*agentv1.Operation)
		may  []agentv1.OperationKind
		says string
	}{
		{"node part", node, []agentv1.OperationKind{provision, repave, reconfigure}, "carries a node part"},
		{"node digest", digest, []agentv1.OperationKind{provision, repave, reconfigure}, "carries a node part"},
		{"node IP", address, []agentv1.OperationKind{provision, repave, reconfigure}, "carries a node part"},
		{"OS image digest", image, []agentv1.OperationKind{provision, repave}, "carries the digest of an OS image"},
		{"drain options", drained, []agentv1.OperationKind{repave, leave}, "carries drain options"},
		{"force", force, []agentv1.OperationKind{provision, repave, reconfigure, leave}, "carries force"},
		{"network switch", network, nil, "carries a network switch"},
		{"abort", ends, []agentv1.OperationKind{abort}, "carries the ID of an operation to end"},
	} {
		for _, kind := range kindsOfRoot {
			op := optest.Of(2, kind)
			part.add(op)
			requirePart(t, part.name, kind, slices.Contains(part.may, kind), verified(t, ca, op), part.says)
		}
	}
}

func requirePart(t *testing.T, part string, kind agentv1.OperationKind, may bool, refusal *operation.Refusal, says string) {
	t.Helper()
	switch {
	case may && refusal != nil:
		t.Errorf("%s with %s is refused: %v", operation.KindName(kind), part, refusal)
	case !may && (refusal == nil || refusal.Reason != malformed || !strings.Contains(refusal.Message, says)):
		t.Errorf("%s with %s: refusal %v, want one with %q", operation.KindName(kind), part, refusal, says)
	}
}

// TestFieldsOfKinds is what is wrong within a part.
func TestFieldsOfKinds(t *testing.T) {
	t.Parallel()
	ca := optest.NewAuthority(t)
	withDrain := func(change func(*agentv1.DrainOptions)) func(*agentv1.Operation) {
		return func(op *agentv1.Operation) {
			op.Drain = drain()
			change(op.Drain)
		}
	}
	for _, c := range []struct {
		name   string
		kind   agentv1.OperationKind
		change func(*agentv1.Operation)
		says   string // empty: accepted
	}{
		{"drain by default", repave, withDrain(func(*agentv1.DrainOptions) {}), ""},
		{"drain for as long as the operation", leave, withDrain(func(d *agentv1.DrainOptions) { d.Timeout = durationpb.New(0) }), ""},
		{"pods' own grace period", leave, withDrain(func(d *agentv1.DrainOptions) { d.GracePeriodSeconds = -1 }), ""},
		{"negative drain", repave, withDrain(func(d *agentv1.DrainOptions) { d.Timeout = durationpb.New(-time.Second) }), "drain timeout -1s"},
		{"fractional drain", repave, withDrain(func(d *agentv1.DrainOptions) { d.Timeout = durationpb.New(1500 * time.Millisecond) }), "whole seconds"},
		{"endless drain", leave, withDrain(func(d *agentv1.DrainOptions) { d.Timeout = durationpb.New(25 * time.Hour) }), "drain timeout 25h"},
		{"drain without its timeout", repave, withDrain(func(d *agentv1.DrainOptions) { d.Timeout = nil }), "drain timeout (not set)"},
		{"drain that waits for no deletion", repave, withDrain(func(d *agentv1.DrainOptions) { d.SkipWaitForDeleteTimeout = durationpb.New(0) }), "skipWaitForDeleteTimeout 0s"},
		{"endless grace", leave, withDrain(func(d *agentv1.DrainOptions) { d.GracePeriodSeconds = 1 << 30 }), "gracePeriod"},
		{"image", repave, func(op *agentv1.Operation) {
			op.Node.OsImage = &agentv1.OSImage{Uri: "registry.example:5000/a/b:v1.2-x"}
		}, ""},
		{"image like an option", repave, func(op *agentv1.Operation) { op.Node.OsImage = &agentv1.OSImage{Uri: "--insecure"} }, "no image reference"},
		{"image with a blank", repave, func(op *agentv1.Operation) { op.Node.OsImage = &agentv1.OSImage{Uri: "a b"} }, "no image reference"},
		{"image without a name", repave, func(op *agentv1.Operation) { op.Node.OsImage = &agentv1.OSImage{} }, "no image reference"},
		{"digest without an image", repave, func(op *agentv1.Operation) { op.OsImageDigest = "sha256:" + strings.Repeat("00", 32) }, "names none"},
		{"digest of another form", repave, func(op *agentv1.Operation) { op.OsImageDigest = "sha512:" + strings.Repeat("00", 32) }, "not sha256:"},
		{"nodeadm from a URL", repave, source("https://aws.example/nodeadm", strings.Repeat("ab", 32)), ""},
		{"nodeadm not pinned", repave, source("https://aws.example/nodeadm", ""), "does not pin it"},
		{"nodeadm from a file", reconfigure, source("file:///etc/shadow", strings.Repeat("ab", 32)), "no http:// or https:// URL"},
		{"nodeadm from nowhere", provision, source("https:///nodeadm", strings.Repeat("ab", 32)), "no http:// or https:// URL"},
		{"abort of nothing", abort, func(op *agentv1.Operation) { op.Abort = nil }, "no operation ID"},
		{"abort of a path", abort, func(op *agentv1.Operation) { op.Abort.OperationId = "../../etc/passwd" }, "no operation ID"},
		{"abort of itself", abort, func(op *agentv1.Operation) { op.Abort.OperationId = op.Id }, "end itself"},
		{"endless leave", leave, func(op *agentv1.Operation) { op.Deadline = durationpb.New(5 * time.Hour) }, "deadline 5h"},
		{"repave of nothing", repave, func(op *agentv1.Operation) { op.Node = nil }, "no node part"},
		{"reconfigure without an address", reconfigure, func(op *agentv1.Operation) { op.NodeIp = "" }, "no IPv4 address"},
	} {
		op := optest.Of(2, c.kind)
		c.change(op)
		refusal := verified(t, ca, op)
		if c.says == "" && refusal != nil || c.says != "" && (refusal == nil || !strings.Contains(refusal.Message, c.says)) {
			t.Errorf("%s: refusal %v, want %q", c.name, refusal, c.says)
		}
	}
}

func source(url, sum string) func(*agentv1.Operation) {
	return func(op *agentv1.Operation) { op.Node.Nodeadm = &agentv1.NodeadmSource{Url: url, Sha256: sum} }
}

// TestLiveSwitchIsTheDaemons checks that root takes no live switch, and the daemon
// none with a node part.
func TestLiveSwitchIsTheDaemons(t *testing.T) {
	t.Parallel()
	ca := optest.NewAuthority(t)
	op := optest.Of(2, leave)
	op.Kind, op.NetworkSwitch = liveSwitch, &agentv1.NetworkSwitch{VpnServers: []string{"10.0.0.2"}}
	if refusal := verified(t, ca, op); refusal == nil || refusal.Reason != unknownKind {
		t.Errorf("root: %v", refusal)
	}
	trust := ca.Trust()
	trust.Network = true
	if _, err := operation.Verify(ca.Sign(t, op), trust, time.Now()); err != nil {
		t.Errorf("the daemon: %v", err)
	}
	op.NodeIp = "10.0.0.1"
	if _, err := operation.Verify(ca.Sign(t, op), trust, time.Now()); err == nil {
		t.Error("a live switch with a node IP is accepted")
	}
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	for kind, want := range map[agentv1.OperationKind]time.Duration{
		provision: 15 * time.Minute, reconfigure: 15 * time.Minute, leave: time.Hour, repave: time.Hour,
	} {
		if got := operation.Deadline(&agentv1.Operation{Kind: kind}); got != want {
			t.Errorf("%s: %s, want %s", operation.KindName(kind), got, want)
		}
	}
	if got := operation.Deadline(&agentv1.Operation{Kind: repave, Deadline: durationpb.New(time.Minute)}); got != time.Minute {
		t.Errorf("a deadline that is named: %s", got)
	}
}

func TestEnded(t *testing.T) {
	t.Parallel()
	for number, name := range agentv1.OperationState_name {
		want := false
		switch operation.StateName(agentv1.OperationState(number)) {
		case "succeeded", "failed", "refused", "aborted":
			want = true
		}
		if got := operation.Ended(agentv1.OperationState(number)); got != want {
			t.Errorf("Ended(%s) = %v", name, got)
		}
	}
}
