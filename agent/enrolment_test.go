package agent

import (
	"os"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"hybridagent/agent/identity"
	"hybridagent/agent/internal/planetest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	localv1 "hybridagent/proto/hybrid/local/v1"
)

func (m *machine) token(text string) {
	m.t.Helper()
	ok(m.t, os.WriteFile(m.cfg.Enrollment.TokenFile, []byte(text), 0o600))
}

// restart runs the daemon anew, with a door that has erased nothing yet.
func (m *machine) restart() {
	m.t.Helper()
	m.stop()
	m.door = &fakeDoor{runner: "direct"}
	m.start()
}

func TestRemovedHostComesBackWithAFreshToken(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	plane, m := joined(t)
	former := must(identity.Load(m.cfg.Paths.State))(t)
	plane.Forget()
	plane.Stop()
	plane.Start()
	wayBack := []string{"removed from the plane", "hybridctl token create", "token file", "restart hybrid-agent.service"}
	contains(t, m.awaitCondition(ConditionRegistered, "false", "RequestRefused"), wayBack...)
	if plane.EnrolCount() != 1 {
		t.Error("a host that was removed came back by the token it had used")
	}
	ok(t, os.Remove(m.cfg.Enrollment.TokenFile))
	m.restart()
	contains(t, m.awaitCondition(ConditionRegistered, "false", "RequestRefused"), wayBack...)

	plane.Tokens["old"] = status.Error(codes.PermissionDenied, "the token shop-1 expired")
	m.token("old")
	m.restart()
	contains(t, m.awaitCondition(ConditionRegistered, "false", "RequestRefused"), "removed from the plane", "the token shop-1 expired")
	if m.door.isErased() {
		t.Error("the token was erased before the plane welcomed the host")
	}
	if who := must(identity.Load(m.cfg.Paths.State))(t); !who.Key.Equal(former.Key) || who.Certificate == nil {
		t.Error("the former identity is lost before there is another")
	}

	m.stop()
	plane.Tokens["fresh"] = nil
	m.token("fresh")
	m.start()
	m.awaitCondition(ConditionRegistered, "true", "Connected")
	if who := must(identity.Load(m.cfg.Paths.State))(t); who.Key.Equal(former.Key) {
		t.Error("the host came back with the key that was refused")
	}
	awaitErased(t, m)
}

func TestPlaneWithAnotherCA(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	plane, m := joined(t)
	plane.Stop()
	ok(t, os.Remove(m.cfg.Enrollment.TokenFile))
	next := planetest.New(t)
	next.At(plane.Address())
	next.Start()
	m.stop()
	m.cfg.Plane.CAPin = next.Pin()
	m.start()
	contains(t, m.awaitCondition(ConditionRegistered, "false", "RequestRefused"), "this host's certificate", "hybridctl token create", "token file")
	m.token("good")
	m.restart()
	m.awaitCondition(ConditionRegistered, "true", "Connected")
	awaitErased(t, m)
}

// TestRefusalsDoNotSpendATokenTwice: a plane that enrols and then refuses all the
// same does not make the host use the token up.
func TestRefusalsDoNotSpendATokenTwice(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	site(t)
	plane := planetest.New(t)
	plane.Start()
	plane.Greet = &agentv1.PlaneMessage{Message: &agentv1.PlaneMessage_Goodbye{Goodbye: &agentv1.Goodbye{Reason: "later"}}}
	m := newMachine(t, plane)
	m.start()
	m.awaitCondition(ConditionRegistered, "true", "Disconnected")
	plane.Forget()
	contains(t, m.awaitCondition(ConditionRegistered, "false", "RequestRefused"), "removed from the plane")
	if plane.EnrolCount() != 1 || m.door.isErased() {
		t.Errorf("%d enrolments, token erased: %v", plane.EnrolCount(), m.door.isErased())
	}
}

func awaitErased(t *testing.T, m *machine) {
	t.Helper()
	m.await("erased token", func(*localv1.Status) bool { return m.door.isErased() })
}
