package nodeapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// changeAttempts bounds how often a change is made anew because the Node was
// changed in between.
const changeAttempts = 5

// Cordon makes the Node unschedulable and marks the cordon as ours. Where the
// Node is unschedulable already it changes nothing and returns true: the cordon
// is an administrator's, or our own of before a restart; Node.CordonedBy tells.
// Errors are those of Client.Node; an answer that refuses the change.
func (c *Client) Cordon(ctx context.Context, name, mark string) (already bool, err error) {
	if mark == "" {
		return false, fmt.Errorf("cannot cordon Node %s: there is no mark to know the cordon by", name)
	}
	err = c.change(ctx, name, func(node Node) map[string]any {
		if already = node.Unschedulable; already {
			return nil
		}
		return cordonPatch(node, true, mark)
	})
	if err != nil {
		return false, fmt.Errorf("cannot cordon Node %s: %w", name, err)
	}
	return already, nil
}

// Uncordon takes back the cordon that carries the mark, and reports whether there
// was one. Any other cordon stays; so does a Node that somebody uncordoned, which
// only loses the mark. Errors are those of Cordon.
func (c *Client) Uncordon(ctx context.Context, name, mark string) (changed bool, err error) {
	err = c.change(ctx, name, func(node Node) map[string]any {
		if changed = mark != "" && node.CordonedBy == mark; !changed {
			return nil
		}
		return cordonPatch(node, nil, nil)
	})
	if err != nil {
		return false, fmt.Errorf("cannot uncordon Node %s: %w", name, err)
	}
	return changed, nil
}

// cordonPatch is a merge patch, in which nil removes. It names the version that
// it was made for, so that the mark never lands on another's cordon.
func cordonPatch(node Node, unschedulable, mark any) map[string]any {
	return map[string]any{
		"metadata": map[string]any{
			"resourceVersion": node.resourceVersion,
			"annotations":     map[string]any{CordonedBy: mark},
		},
		"spec": map[string]any{"unschedulable": unschedulable},
	}
}

// change reads the Node and applies the patch that decide makes of it, anew when
// somebody else was quicker. decide returns nil where there is nothing to change.
func (c *Client) change(ctx context.Context, name string, decide func(Node) map[string]any) error {
	var err error
	for range changeAttempts {
		var node Node
		if node, err = c.Node(ctx, name); err != nil {
			return err
		}
		patch := decide(node)
		if patch == nil {
			return nil
		}
		_, err = c.send(ctx, http.MethodPatch, nodePath(name), nil, mergePatchType, patch)
		if !hasCode(err, http.StatusConflict) {
			return refused(noNode(err))
		}
	}
	return fmt.Errorf("the Node was changed by others %d times meanwhile: %w; try again", changeAttempts, err)
}

// refused adds what to do where a node is not allowed what every node is.
func refused(err error) error {
	var status *StatusError
	if errors.As(err, &status) && status.Code == http.StatusForbidden {
		return fmt.Errorf("%w; the API does not take these credentials for this node's own: check that the node's name is the host's and that no admission policy forbids the change", err)
	}
	return err
}
