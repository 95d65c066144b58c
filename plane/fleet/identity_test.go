package fleet

import (
	"strings"
	"testing"

	"hybridagent/plane/compile"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

func TestSameMachine(t *testing.T) {
	print := func(uuid, machine string, macs ...string) *agentv1.HardwareFingerprint {
		return &agentv1.HardwareFingerprint{ProductUuid: uuid, MachineIdHash: machine, Macs: macs}
	}
	for name, c := range map[string]struct {
		was, is *agentv1.HardwareFingerprint
		want    bool
	}{
		"the same":                       {print("u", "m", "a"), print("u", "m", "a"), true},
		"new NIC":                        {print("u", "m", "a"), print("u", "m", "b"), true},
		"reinstalled":                    {print("u", "m", "a"), print("u", "n", "a"), true},
		"new mainboard, old NIC":         {print("u", "m", "a", "b"), print("v", "m", "b"), true},
		"cloned disk":                    {print("u", "m", "a"), print("v", "m", "b"), false},
		"no UUID, cloned disk":           {print("", "m", "a"), print("", "m", "b"), false},
		"no UUID, same NIC":              {print("", "m", "a"), print("", "n", "a"), true},
		"nothing but the machine ID":     {print("", "m"), print("", "m"), true},
		"nothing but another machine ID": {print("", "m"), print("", "n"), false},
		"UUID no longer readable":        {print("u", "m"), print("", "m"), true},
	} {
		var id identity
		id.learn(c.was)
		if got := id.sameMachine(c.is); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		if id.learn(c.was) {
			t.Errorf("%s: the same fingerprint was learnt twice", name)
		}
	}
}

func TestReconcileGenerations(t *testing.T) {
	for name, c := range map[string]struct {
		ours, held   uint64
		digest       string
		send, raised bool
		want         uint64
	}{
		"new host":                {5, 0, "", true, false, 5},
		"up to date":              {5, 5, "d", false, false, 5},
		"behind":                  {5, 4, "c", true, false, 5},
		"behind, same content":    {5, 4, "d", true, false, 5},
		"ahead, same content":     {5, 9, "d", false, true, 9},
		"ahead, other content":    {5, 9, "c", true, true, 10},
		"same number, other":      {5, 5, "c", true, true, 6},
		"a number beyond reason":  {5, 1 << 63, "c", true, false, 5},
		"the largest that counts": {5, maxGeneration, "c", true, true, maxGeneration + 1},
	} {
		h := &host{generation: c.ours, wanted: compile.Output{Digest: "d"}}
		send, raised := h.reconcileLocked(c.held, c.digest)
		if send != c.send || raised != c.raised || h.generation != c.want {
			t.Errorf("%s: send %v, raised %v, generation %d; want %v, %v, %d", name, send, raised, h.generation, c.send, c.raised, c.want)
		}
	}
}

func TestTokensAreUnlike(t *testing.T) {
	a, err := NewToken()
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewToken()
	if err != nil {
		t.Fatal(err)
	}
	if a == b || !strings.HasPrefix(a, tokenTextPrefix) || len(a) != len(tokenTextPrefix)+32 {
		t.Errorf("tokens %q and %q", a, b)
	}
	if key := TokenKey(a); strings.Contains(key, a) || key == TokenKey(b) {
		t.Errorf("key %q", key)
	}
}
