package nodeapi

import (
	"context"
	"fmt"
	"slices"

	"hybridagent/nodeadm"
)

// SetLabels sets labels of the Node and removes others, and reports whether
// anything had to change. Labels that a node may not give itself are left out and
// returned, sorted: they need the plane's access to the cluster, or an
// administrator. A label that is in both set and remove is set. Errors are those
// of Client.Node; an answer that refuses a label, which names it.
func (c *Client) SetLabels(ctx context.Context, name string, set map[string]string, remove []string) (changed bool, restricted []string, err error) {
	wanted, restricted := labelChanges(set, remove)
	if len(wanted) == 0 {
		return false, restricted, nil
	}
	err = c.change(ctx, name, func(node Node) map[string]any {
		labels := labelDifference(node.Labels, wanted)
		if changed = len(labels) > 0; !changed {
			return nil
		}
		return map[string]any{"metadata": map[string]any{"resourceVersion": node.resourceVersion, "labels": labels}}
	})
	if err != nil {
		return false, restricted, fmt.Errorf("cannot label Node %s: %w", name, err)
	}
	return changed, restricted, nil
}

// labelChanges maps each label that the node may change to its value, or to nil
// where it goes.
func labelChanges(set map[string]string, remove []string) (wanted map[string]any, restricted []string) {
	wanted = map[string]any{}
	add := func(key string, value any) {
		if nodeadm.KubeletMaySet(key) {
			wanted[key] = value
		} else {
			restricted = append(restricted, key)
		}
	}
	for _, key := range remove {
		add(key, nil)
	}
	for key, value := range set {
		add(key, value)
	}
	slices.Sort(restricted)
	return wanted, slices.Compact(restricted)
}

// labelDifference is what of wanted the Node does not have yet.
func labelDifference(have map[string]string, wanted map[string]any) map[string]any {
	difference := map[string]any{}
	for key, value := range wanted {
		current, ok := have[key]
		if ok != (value != nil) || ok && current != value {
			difference[key] = value
		}
	}
	return difference
}
