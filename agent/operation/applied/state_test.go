package applied

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"hybridagent/agent/store"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

const code = "sekrit-sekrit-sekrit-1"

func spec() *agentv1.NodeSpec {
	return &agentv1.NodeSpec{KubernetesVersion: "1.31.5", KubeletFlags: []string{"--v=2"}, Access: &agentv1.AccessManagement{
		Method: &agentv1.AccessManagement_Ssm{Ssm: &agentv1.SSMAccess{ActivationId: "id", ActivationCode: code}}}}
}

// TestStateKeepsTheNodePartWithoutItsSecret: the record brings a way back, and no
// code.
func TestStateKeepsTheNodePartWithoutItsSecret(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	given := spec()
	want := State{NodeDigest: "d", KubernetesVersion: "1.31.5", Provider: "ssm", Nodeadm: "abc", At: time.Unix(1, 0).UTC(), Node: given}
	if err := WriteState(dir, want); err != nil {
		t.Fatal(err)
	}
	if given.GetAccess().GetSsm().GetActivationCode() != code {
		t.Error("writing the record changed the caller's node part")
	}
	got, found, err := ReadState(dir)
	if err != nil || !found || !proto.Equal(got.Node, Public(given)) || got.Provider != "ssm" || got.Nodeadm != "abc" {
		t.Errorf("ReadState = %+v, %v, %v", got, found, err)
	}
	for _, name := range []string{"applied", "applied.copy"} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || bytes.Contains(content, []byte(code)) {
			t.Errorf("%s holds the activation code, or is not there: %v", name, err)
		}
	}
}

// TestStateOfSchemaOne: a record of a version that did not keep the node part is
// read, and says so by leaving it out.
func TestStateOfSchemaOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old := []byte(`{"nodeDigest":"d","kubernetesVersion":"1.30.4","nodeIP":"10.0.0.1","nodeName":"n","operationID":"o","at":"2026-01-01T00:00:00Z"}`)
	for _, name := range []string{"applied", "applied.copy"} {
		if err := store.Write(filepath.Join(dir, name), 1, old); err != nil {
			t.Fatal(err)
		}
	}
	got, found, err := ReadState(dir)
	if err != nil || !found || got.KubernetesVersion != "1.30.4" || got.NodeName != "n" || got.Node != nil || got.Provider != "" {
		t.Errorf("ReadState = %+v, %v, %v", got, found, err)
	}
	if err := os.Truncate(filepath.Join(dir, "applied"), 5); err != nil {
		t.Fatal(err)
	}
	if got, found, _ = ReadState(dir); !found || got.NodeName != "n" {
		t.Errorf("from the copy: %+v, %v", got, found)
	}
	if _, err := store.Read(filepath.Join(dir, "applied"), 2); err != nil {
		t.Errorf("the restored record is not of schema 2: %v", err)
	}
	if err := store.Write(filepath.Join(dir, "applied"), 3, old); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ReadState(dir); err == nil {
		t.Error("a record of a newer version was read")
	}
}

// TestForget: nothing is left that says the host is, or was, a node.
func TestForget(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := WriteState(dir, State{NodeName: "n"}); err != nil {
		t.Fatal(err)
	}
	if err := WriteInstalled(dir, Installed{KubernetesVersion: "1.31.5"}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "applied.corrupt-1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Forget(dir); err != nil {
			t.Fatal(err)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 || Lost(dir) != "" {
		t.Errorf("left %v, %v, lost %q", left, err, Lost(dir))
	}
}

// TestCopyNeverTellsOfWhatIsNotInForce: the disk is full, or the power fails, between
// the record and its copy.
func TestCopyNeverTellsOfWhatIsNotInForce(t *testing.T) {
	t.Parallel()
	restored := func(dir string) (State, bool) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "applied"), []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
		state, found, _ := ReadState(dir)
		return state, found
	}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	former, wanted := State{KubernetesVersion: "1.30.4"}, State{KubernetesVersion: "1.31.5"}

	// The record cannot be written: a folder is in its place.
	dir := t.TempDir()
	ok(WriteState(dir, former))
	ok(os.Remove(filepath.Join(dir, "applied")))
	ok(os.Mkdir(filepath.Join(dir, "applied"), 0o700))
	if err := WriteState(dir, wanted); err == nil {
		t.Error("a record that cannot be written was written")
	}
	ok(os.Remove(filepath.Join(dir, "applied")))
	if got, found := restored(dir); !found || got.KubernetesVersion != "1.30.4" {
		t.Errorf("after a record that failed, the copy is of %q, %v", got.KubernetesVersion, found)
	}

	// The copy cannot be written.
	dir = t.TempDir()
	ok(os.Mkdir(filepath.Join(dir, "applied.copy"), 0o700))
	ok(WriteState(dir, wanted))
	if got, found, err := ReadState(dir); err != nil || !found || got.KubernetesVersion != "1.31.5" {
		t.Errorf("ReadState = %+v, %v, %v", got, found, err)
	}
	if _, found := restored(dir); found {
		t.Error("there is a copy that was never written")
	}

	// The power fails between the two.
	dir = t.TempDir()
	ok(WriteState(dir, former))
	ok(writeState(filepath.Join(dir, "applied"), wanted))
	ok(Mirror(dir))
	if got, found := restored(dir); !found || got.KubernetesVersion != "1.31.5" {
		t.Errorf("after a power cut the copy is of %q, %v", got.KubernetesVersion, found)
	}
}
