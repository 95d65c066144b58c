package netcfg

import (
	"encoding/json"
	"testing"
)

// TestRememberedIsKept: what is read back finds the same link.
func TestRememberedIsKept(t *testing.T) {
	t.Parallel()
	inv := Inventory{Links: parseLinks(t, "2: eth0 device up 10.200.0.11/24 mac 02:00:00:00:00:01 alt enp1s0\n")}
	in := SelectionInput{Sticky: Remembered{Name: "lan0", MAC: "02:00:00:00:00:01", Former: []string{"net0"}}}
	sel, _, err := SelectNIC(inv, in)
	must(t, err)
	want := Remembered{
		Name: "eth0", AltNames: []string{"enp1s0"}, Former: []string{"net0", "lan0"},
		MAC: "02:00:00:00:00:01", Kind: "device", NodeIP: addresses("10.200.0.11")[0],
	}
	if got := sel.Remember(); !got.Equal(want) || got.Equal(in.Sticky) {
		t.Errorf("remembered %+v", got)
	}
	for _, r := range []Remembered{want, {}} {
		text, err := json.Marshal(r)
		must(t, err)
		var back Remembered
		must(t, json.Unmarshal(text, &back))
		if !back.Equal(r) {
			t.Errorf("%s read back as %+v", text, back)
		}
	}
	if text, err := json.Marshal(Remembered{}); err != nil || string(text) != "{}" {
		t.Errorf("nothing is %s, %v", text, err)
	}
}

// TestFormerNamesAreBounded: a link that is renamed at every boot.
func TestFormerNamesAreBounded(t *testing.T) {
	t.Parallel()
	var r Remembered
	for _, name := range []string{"a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9", "a5"} {
		sel, _, err := SelectNIC(Inventory{Links: parseLinks(t, "2: "+name+" device up 10.200.0.11/24 mac 02:00:00:00:00:01\n")}, SelectionInput{Sticky: r})
		must(t, err)
		r = sel.Remember()
	}
	if len(r.Former) != maxFormer || r.Former[maxFormer-1] != "a9" || r.answersTo("a0") || !r.answersTo("a5") || r.hasName("a9") {
		t.Errorf("remembered %+v", r)
	}
}
