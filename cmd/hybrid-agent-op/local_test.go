package main

import (
	"errors"
	"strings"
	"testing"

	"hybridagent/agent/operation"
	"hybridagent/agent/operation/applied"
	"hybridagent/agent/operation/optest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

func TestLocalSubmitter(t *testing.T) {
	t.Parallel()
	const repave, leave = agentv1.OperationKind_OPERATION_KIND_REPAVE, agentv1.OperationKind_OPERATION_KIND_LEAVE
	dir := t.TempDir()
	var submitted []*agentv1.Operation
	submit := localSubmitter("edge-1", dir, func(op *agentv1.Operation) error {
		submitted = append(submitted, op)
		return nil
	})
	refused := func(says string) {
		t.Helper()
		var refusal *operation.Refusal
		if _, err := submit(repave, true); !errors.As(err, &refusal) || !strings.Contains(refusal.Message, says) || len(submitted) != 0 {
			t.Errorf("repair: %v, want a refusal with %q", err, says)
		}
	}
	refused("this host is no node")
	record := applied.State{NodeDigest: "d", KubernetesVersion: "1.31.5", NodeIP: "10.0.0.1", NodeName: "edge-1"}
	if err := applied.WriteState(dir, record); err != nil {
		t.Fatal(err)
	}
	refused("does not tell what is in force")
	record.Node = optest.NodeSpec()
	if err := applied.WriteState(dir, record); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []agentv1.OperationKind{repave, leave} {
		id, err := submit(kind, true)
		if err != nil || !operation.ValidID(id) {
			t.Fatalf("%v: %q, %v", kind, id, err)
		}
		op := submitted[len(submitted)-1]
		if op.GetId() != id || op.GetHostId() != "edge-1" || op.GetKind() != kind || !op.GetForce() || op.GetNode() != nil || op.GetSequence() != nil {
			t.Errorf("submitted %v", op)
		}
	}
	if submitted[0].GetId() == submitted[1].GetId() {
		t.Error("two operations have one ID")
	}
}
