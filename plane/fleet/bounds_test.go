package fleet

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// bounds are those that the protocol's files state, by field: most entries of a
// list, 0 where it is none, and most bytes of a text.
func bounds() map[string][2]int {
	return map[string][2]int{
		"Inventory.hostname": {0, 253}, "Inventory.os": {0, 256}, "Inventory.kernel": {0, 128}, "Inventory.nics": {64, 0},
		"NIC.name": {0, 127}, "NIC.mac": {0, 64}, "NIC.kind": {0, 32},
		"NIC.addresses": {32, 64}, "NIC.reasons": {16, 256}, "NIC.altnames": {16, 127},
		"HostStatus.conditions": {32, 0}, "Condition.type": {0, 64}, "Condition.reason": {0, 64}, "Condition.message": {0, 1024},
		"HostStatus.nic": {0, 127}, "HostStatus.node_ip": {0, 15}, "HostStatus.applied_node_digest": {0, 64},
		"HostStatus.applied_kubernetes_version": {0, 32}, "HostStatus.routes": {64, 256}, "HostStatus.repave_fields": {32, 128}, "HostStatus.runner": {0, 32},
		"HostStatus.wanted_node_ip": {0, 15}, "HostStatus.remarks": {16, 512},
		"Forecast.path": {0, 32}, "Forecast.reasons": {16, 512}, "Forecast.steps": {32, 0}, "Forecast.refusal": {0, 1024}, "Forecast.node_digest": {0, 64},
		"ForecastStep.name": {0, 64}, "ForecastStep.what": {0, 256},
		"HostStatus.vpn_server": {0, 15}, "HostStatus.vpn_servers": {8, 15},
		"AssignmentResult.digest": {0, 64}, "AssignmentResult.refusals": {32, 0}, "FieldRefusal.field": {0, 128}, "FieldRefusal.reason": {0, 1024},
		"OperationProgress.operation_id": {0, 64}, "OperationProgress.step": {0, 64}, "OperationProgress.message": {0, 4096},
		"OperationProgress.log_lines": {10, 512}, "OperationProgress.node_digest": {0, 64},
	}
}

// swell fills every text and list of a message beyond any bound; lists whose
// number is refused keep to it.
func swell(m protoreflect.Message, refused []string) {
	long := protoreflect.ValueOfString(strings.Repeat("é", 5000))
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		name := string(m.Descriptor().Name()) + "." + string(f.Name())
		switch {
		case f.IsList():
			n := 100
			if slices.Contains(refused, name) {
				n = bounds()[name][0]
			}
			for range n {
				if f.Message() != nil {
					swell(m.Mutable(f).List().AppendMutable().Message(), refused)
				} else {
					m.Mutable(f).List().Append(long)
				}
			}
		case f.Message() != nil && f.Message().FullName() == (&agentv1.Forecast{}).ProtoReflect().Descriptor().FullName():
			swell(m.Mutable(f).Message(), refused)
		case f.Kind() == protoreflect.StringKind:
			m.Set(f, long)
		case f.Kind() == protoreflect.Uint32Kind:
			m.Set(f, protoreflect.ValueOfUint32(1<<31))
		}
	}
}

// check compares every text and list with its bound.
func check(t *testing.T, m protoreflect.Message) {
	t.Helper()
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		name := string(m.Descriptor().Name()) + "." + string(f.Name())
		bound, known := bounds()[name]
		switch {
		case f.IsList():
			list := m.Get(f).List()
			if !known || list.Len() != bound[0] {
				t.Errorf("%s has %d entries, want %d", name, list.Len(), bound[0])
			}
			for j := range list.Len() {
				if f.Message() != nil {
					check(t, list.Get(j).Message())
				} else {
					checkText(t, name, list.Get(j).String(), bound[1])
				}
			}
		case f.Message() != nil && f.Message().FullName() == (&agentv1.Forecast{}).ProtoReflect().Descriptor().FullName():
			if !m.Has(f) {
				t.Errorf("%s is lost", name)
			}
			check(t, m.Get(f).Message())
		case f.Kind() == protoreflect.StringKind:
			if !known {
				t.Errorf("%s has no bound in this test", name)
			}
			checkText(t, name, m.Get(f).String(), bound[1])
		}
	}
}

func checkText(t *testing.T, name, text string, most int) {
	t.Helper()
	// "é" has two bytes, and none is cut in the middle.
	if len(text) > most || len(text) < most-1 || !utf8.ValidString(text) {
		t.Errorf("%s has %d bytes, want %d or one less, valid UTF-8: %v", name, len(text), most, utf8.ValidString(text))
	}
}

// TestReportsAreCut: a host that says too much stays visible, within the bounds.
func TestReportsAreCut(t *testing.T) {
	f, _ := newFleet(t, newStore(t))
	h := newHost("edge-1", record{}, f.cfg.Now())
	refused := []string{"Inventory.nics", "HostStatus.conditions"}
	inv, status := &agentv1.Inventory{}, &agentv1.HostStatus{}
	result, progress := &agentv1.AssignmentResult{}, &agentv1.OperationProgress{}
	for _, m := range []proto.Message{inv, status, result, progress} {
		swell(m.ProtoReflect(), refused)
	}
	progress.LogLines[99] = "the last"
	for _, m := range []*agentv1.AgentMessage{
		{Message: &agentv1.AgentMessage_Inventory{Inventory: inv}},
		{Message: &agentv1.AgentMessage_Status{Status: status}},
		{Message: &agentv1.AgentMessage_AssignmentResult{AssignmentResult: result}},
		{Message: &agentv1.AgentMessage_Operation{Operation: progress}},
	} {
		if err := f.receive(t.Context(), h, nil, m); err != nil {
			t.Fatal(err)
		}
	}
	s := h.snapshot()
	if got := s.GetOperation(); got.GetPercent() != 100 || got.GetLogLines()[9] != "the last" {
		t.Errorf("%d %%, last line %.20q", got.GetPercent(), got.GetLogLines()[9])
	}
	s.GetOperation().LogLines[9] = clipped(strings.Repeat("é", 5000), 512)
	for _, m := range []proto.Message{s.GetInventory(), s.GetHost(), s.GetAssignment(), s.GetOperation()} {
		check(t, m.ProtoReflect())
	}
	if _, err := h.writes(); err != nil {
		t.Errorf("what was cut cannot be written: %v", err)
	}
}

func TestAbsurdNumbersAreRefused(t *testing.T) {
	f, _ := newFleet(t, newStore(t))
	h := newHost("edge-1", record{}, f.cfg.Now())
	for words, m := range map[string]*agentv1.AgentMessage{
		"65 NICs were reported, at most 64":       {Message: &agentv1.AgentMessage_Inventory{Inventory: &agentv1.Inventory{Nics: make([]*agentv1.NIC, 65)}}},
		"33 conditions were reported, at most 32": {Message: &agentv1.AgentMessage_Status{Status: &agentv1.HostStatus{Conditions: make([]*agentv1.Condition, 33)}}},
	} {
		if err := f.receive(t.Context(), h, nil, m); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("got %v, want %q", err, words)
		}
	}
	if err := checkFingerprint(&agentv1.HardwareFingerprint{Macs: []string{strings.Repeat("0", 129)}}); err == nil {
		t.Error("a MAC address of 129 bytes was taken")
	}
}
