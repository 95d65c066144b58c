package agent

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/zap/zaptest"

	"hybridagent/agent/internal/planetest"
	"hybridagent/agent/store"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	localv1 "hybridagent/proto/hybrid/local/v1"
)

func TestDamagedStateIsToldAndHeals(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	plane, m := joined(t)
	for i, damage := range []func([]byte) []byte{
		func([]byte) []byte { return nil },
		func(b []byte) []byte { return b[:len(b)/2] },
		func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
	} {
		generation := uint64(i + 1)
		plane.Assign(generation, shop())
		m.await("assignment", func(s *localv1.Status) bool { return s.GetAssignment().GetGeneration() == generation })
		m.stop()
		plane.Stop()
		file := filepath.Join(m.cfg.Paths.State, AssignmentFile)
		content, err := os.ReadFile(file)
		ok(t, err)
		ok(t, os.WriteFile(file, damage(content), 0o600))
		m.start()
		message := m.awaitCondition(ConditionNICSelected, "unknown", "CacheLost")
		contains(t, message, file, "corrupt-"+strconv.Itoa(i+1), "the plane sends the assignment again")
		if got := routes(t); !slices.Equal(got, []string{wantRoute}) {
			t.Errorf("routes in the kernel must survive a lost cache: %v", got)
		}
		plane.Start()
		m.awaitCondition(ConditionRegistered, "true", "Connected")
	}
}

// TestDamagedMemoryOfTheNodeHeals: what the node was made from, what was being
// applied, and which NIC was chosen, each come back from what is known elsewhere.
func TestDamagedMemoryOfTheNodeHeals(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	plane, m := joined(t)
	plane.Assign(1, shop())
	plane.Await("ACK", answered(1))
	send := func(letter string) {
		plane.Send(&agentv1.PlaneMessage{Message: &agentv1.PlaneMessage_Operation{Operation: plane.Sign(provision(letter))}})
		plane.Await("success", func(m *agentv1.AgentMessage) bool {
			return succeeded(m.GetOperation()) && strings.HasPrefix(m.GetOperation().GetOperationId(), letter)
		})
	}
	send("o")
	m.awaitCondition(ConditionRepaveRequired, "false", "UpToDate")
	files := map[string]string{}
	schemas := map[string]int{ProvisionedFile: cacheSchema, pendingFile: cacheSchema, nicFile: nicSchema, NetworkFile: networkSchema}
	for name, schema := range schemas {
		file := filepath.Join(m.cfg.Paths.State, name)
		files[name] = string(must(store.Read(file, schema))(t))
	}
	for i, damage := range []func([]byte) []byte{
		func([]byte) []byte { return nil },
		func(b []byte) []byte { return b[:len(b)/2] },
		func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
	} {
		m.stop()
		for name := range files {
			file := filepath.Join(m.cfg.Paths.State, name)
			ok(t, os.WriteFile(file, damage(must(os.ReadFile(file))(t)), 0o600))
		}
		m.start()
		m.awaitCondition(ConditionRoutesInstalled, "true", "Installed")
		m.awaitCondition(ConditionRepaveRequired, "false", "UpToDate")
		m.awaitCondition(ConditionRegistered, "true", "Connected")
		send(string(rune('p' + i)))
		for name, want := range files {
			file := filepath.Join(m.cfg.Paths.State, name)
			if got, err := store.Read(file, schemas[name]); err != nil || string(got) != want {
				t.Errorf("%s did not heal: %d bytes, want %d; %v", name, len(got), len(want), err)
			}
			if _, err := os.Stat(file + ".corrupt-" + strconv.Itoa(i+1)); err != nil {
				t.Errorf("the damaged %s was not kept for analysis: %v", name, err)
			}
		}
		if got := routes(t); !slices.Equal(got, []string{wantRoute}) {
			t.Errorf("routes: %v", got)
		}
	}
}

func TestStateOfANewerVersionIsNotOverwritten(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	plane := planetest.New(t)
	plane.Start()
	for _, name := range []string{AssignmentFile, NetworkFile, "identity"} {
		m := newMachine(t, plane)
		ok(t, os.MkdirAll(m.cfg.Paths.State, 0o700))
		file := filepath.Join(m.cfg.Paths.State, name)
		ok(t, store.Write(file, 2, []byte("from the future")))
		err := Run(t.Context(), Options{Config: m.cfg, Log: zaptest.NewLogger(t), Door: m.door})
		if err == nil {
			t.Fatalf("%s of a newer version was taken", name)
		}
		contains(t, err.Error(), file, "schema 2 is newer than 1", "install the version that wrote it")
		if kept, err := store.Read(file, 2); err != nil || string(kept) != "from the future" {
			t.Errorf("%s was touched: %q, %v", name, kept, err)
		}
	}
}

func TestForgedOperationIsToldAndNotHandedOn(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	plane, m := joined(t)
	op := &agentv1.Operation{
		Id: strings.Repeat("o", 26), HostId: testHost, Kind: agentv1.OperationKind_OPERATION_KIND_PROVISION,
		Sequence: &agentv1.Sequence{Epoch: 1, Counter: 1}, Node: shop().GetNode(), NodeDigest: shop().GetNodeDigest(), NodeIp: "10.200.0.11",
	}
	send := func(env *agentv1.SignedOperation) {
		plane.Send(&agentv1.PlaneMessage{Message: &agentv1.PlaneMessage_Operation{Operation: env}})
	}
	unsigned := plane.Sign(op)
	unsigned.Signature = nil
	send(unsigned)
	contains(t, m.awaitCondition(ConditionOperationRunning, "false", "Refused"), "not signed")
	m.await("the operation in the status", func(s *localv1.Status) bool {
		op := s.GetOperation()
		return op.GetState() == agentv1.OperationState_OPERATION_STATE_REFUSED && op.GetOperationId() == "" && strings.Contains(op.GetMessage(), "not signed")
	})
	stranger := planetest.New(t)
	send(stranger.Sign(op))
	m.await("refusal of a stranger's operation", func(s *localv1.Status) bool {
		return strings.Contains(conditionOf(s, ConditionOperationRunning).GetMessage(), "pinned key")
	})
	changed := plane.Sign(op)
	changed.Operation[len(changed.Operation)-1] ^= 1
	send(changed)
	m.await("refusal of a changed operation", func(s *localv1.Status) bool {
		return strings.Contains(conditionOf(s, ConditionOperationRunning).GetMessage(), "does not match its bytes")
	})
	op.HostId = "edge-2"
	send(plane.Sign(op))
	m.await("refusal of another host's operation", func(s *localv1.Status) bool {
		return strings.Contains(conditionOf(s, ConditionOperationRunning).GetMessage(), `"edge-2"`)
	})
	if m.door.count() != 0 {
		t.Errorf("%d operations reached the door", m.door.count())
	}
}

func TestLostIdentityIsTold(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	_, m := joined(t)
	m.stop()
	ok(t, os.Truncate(filepath.Join(m.cfg.Paths.State, "identity"), 40))
	ok(t, os.Remove(m.cfg.Enrollment.TokenFile))
	m.start()
	contains(t, m.awaitCondition(ConditionRegistered, "false", "TokenMissing"), "identity.corrupt-1", "fresh enrolment token", "hybridctl token create")
}

func TestSecondDaemonOnTheSameState(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	_, m := joined(t)
	err := Run(t.Context(), Options{Config: m.cfg, Log: zaptest.NewLogger(t), Door: m.door})
	if err == nil {
		t.Fatal("a second daemon ran")
	}
	contains(t, err.Error(), "process "+strconv.Itoa(os.Getpid())+" uses it", m.cfg.Paths.State, "stop that one first")
	if _, readErr := store.Read(filepath.Join(m.cfg.Paths.State, "identity"), 1); readErr != nil {
		t.Errorf("the first daemon's state suffered: %v", readErr)
	}
}
