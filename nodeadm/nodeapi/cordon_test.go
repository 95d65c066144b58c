package nodeapi_test

import (
	"errors"
	"reflect"
	"testing"

	"hybridagent/nodeadm/nodeapi"
)

func TestCordon(t *testing.T) {
	t.Parallel()
	type state = map[string]any
	byAdmin := state{"unschedulable": true}
	ours := state{nodeapi.CordonedBy: "op1"}
	for _, c := range []struct {
		name              string
		spec, annotations state
		uncordon          bool
		result            bool // already, or changed
		unschedulable     bool
		mark              string
		patches           int
	}{
		{"a node that is not", nil, nil, false, false, true, "op1", 1},
		{"again", byAdmin, ours, false, true, true, "op1", 0},
		{"an administrator's", byAdmin, nil, false, true, true, "", 0},
		{"another operation's", byAdmin, state{nodeapi.CordonedBy: "op0"}, false, true, true, "op0", 0},
		{"a mark that stayed", nil, state{nodeapi.CordonedBy: "op0"}, false, false, true, "op1", 1},
		{"uncordon ours", byAdmin, ours, true, true, false, "", 1},
		{"uncordon twice", nil, nil, true, false, false, "", 0},
		{"leave an administrator's", byAdmin, nil, true, false, true, "", 0},
		{"leave another operation's", byAdmin, state{nodeapi.CordonedBy: "op0"}, true, false, true, "op0", 0},
		{"forget ours where somebody uncordoned", nil, ours, true, true, false, "", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d, client := newDouble(t, edge1(c.spec, c.annotations, nil))
			call := client.Cordon
			if c.uncordon {
				call = client.Uncordon
			}
			result, err := call(t.Context(), "edge-1", "op1")
			if err != nil || result != c.result {
				t.Errorf("answered %v, %v, want %v", result, err, c.result)
			}
			node, err := client.Node(t.Context(), "edge-1")
			if err != nil || node.Unschedulable != c.unschedulable || node.CordonedBy != c.mark {
				t.Errorf("unschedulable %v by %q (%v), want %v by %q", node.Unschedulable, node.CordonedBy, err, c.unschedulable, c.mark)
			}
			if d.patches != c.patches {
				t.Errorf("%d patches, want %d", d.patches, c.patches)
			}
		})
	}
}

func TestChangesInBetweenAreSeen(t *testing.T) {
	t.Parallel()
	d, client := newDouble(t, edge1(nil, nil, nil))
	d.rivals = 3
	if _, err := client.Cordon(t.Context(), "edge-1", "op1"); err != nil || d.patches != 1 {
		t.Errorf("after three rivals: %v, %d patches", err, d.patches)
	}
	d.rivals = 100
	if _, err := client.Uncordon(t.Context(), "edge-1", "op1"); err == nil || d.patches != 1 {
		t.Errorf("with a rival each time: %v, %d patches", err, d.patches)
	}
	if _, err := client.Cordon(t.Context(), "edge-2", "op1"); !errors.Is(err, nodeapi.ErrNoNode) {
		t.Errorf("an unknown node: %v", err)
	}
	if _, err := client.Cordon(t.Context(), "edge-1", ""); err == nil {
		t.Error("a cordon without a mark is taken")
	}
}

func TestSetLabels(t *testing.T) {
	t.Parallel()
	d, client := newDouble(t, edge1(nil, nil, map[string]any{"site": "a", "old": "x", "kubernetes.io/hostname": "edge-1"}))
	set := map[string]string{"site": "b", "node-role.kubernetes.io/edge": "", "topology.kubernetes.io/zone": "z"}
	remove := []string{"old", "never", "team.k8s.io/x"}
	changed, restricted, err := client.SetLabels(t.Context(), "edge-1", set, remove)
	if err != nil || !changed || !reflect.DeepEqual(restricted, []string{"node-role.kubernetes.io/edge", "team.k8s.io/x"}) {
		t.Errorf("SetLabels = %v, %v, %v", changed, restricted, err)
	}
	node, err := client.Node(t.Context(), "edge-1")
	want := map[string]string{"site": "b", "topology.kubernetes.io/zone": "z", "kubernetes.io/hostname": "edge-1"}
	if err != nil || !reflect.DeepEqual(node.Labels, want) {
		t.Errorf("labels %v, %v, want %v", node.Labels, err, want)
	}
	if changed, _, err := client.SetLabels(t.Context(), "edge-1", set, remove); err != nil || changed || d.patches != 1 {
		t.Errorf("once more: %v, %v, %d patches", changed, err, d.patches)
	}
}
