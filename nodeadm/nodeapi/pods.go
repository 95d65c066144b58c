package nodeapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// mirrorAnnotation is on pods that only mirror one that kubelet started from a
// file, a static pod: deleting them ends nothing (k8s.io/api/core/v1,
// MirrorPodAnnotationKey).
const mirrorAnnotation = "kubernetes.io/config.mirror"

// Pod is the part of a pod that decides about its removal.
type Pod struct {
	// Namespace, Name and UID of the pod; a pod that comes back under its name has
	// another UID.
	Namespace, Name, UID string
	// Phase is Pending, Running, Succeeded, Failed or Unknown.
	Phase string
	// Mirror says that it mirrors a static pod.
	Mirror bool
	// Controller is the kind of what makes the pod anew, and ControllerAPI that
	// kind's API, for example DaemonSet and apps/v1; empty: nothing does.
	Controller, ControllerAPI string
	// EmptyDir says that it has an emptyDir volume, whose content goes with it.
	EmptyDir bool
	// DeletionTimestamp is when the pod is to be gone, its grace period included;
	// zero: nobody asked for that.
	DeletionTimestamp time.Time
}

// String is namespace/name.
func (p Pod) String() string { return p.Namespace + "/" + p.Name }

// Removal says how a pod is to go.
type Removal struct {
	// GracePeriod is how many seconds the pod gets to end; negative: its own.
	GracePeriod int64
	// DryRun only asks whether it would be allowed.
	DryRun bool
}

// podObject is the part of a pod that is of use here.
type podObject struct {
	Metadata struct {
		Namespace         string            `json:"namespace"`
		Name              string            `json:"name"`
		UID               string            `json:"uid"`
		Annotations       map[string]string `json:"annotations"`
		DeletionTimestamp time.Time         `json:"deletionTimestamp"`
		OwnerReferences   []struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			Controller bool   `json:"controller"`
		} `json:"ownerReferences"`
	} `json:"metadata"`
	Spec struct {
		Volumes []struct {
			EmptyDir *struct{} `json:"emptyDir"`
		} `json:"volumes"`
	} `json:"spec"`
	Status struct {
		Phase string `json:"phase"`
	} `json:"status"`
}

// Pods lists the pods that are bound to the node; a node may list no others.
// Errors: ErrUnreachable, *StatusError.
func (c *Client) Pods(ctx context.Context, node string) ([]Pod, error) {
	var pods []Pod
	seen := map[string]bool{}
	query := url.Values{"fieldSelector": {"spec.nodeName=" + node}}
	err := c.pages(ctx, "/api/v1/pods", query, func(item json.RawMessage) error {
		var object podObject
		if err := json.Unmarshal(item, &object); err != nil {
			return fmt.Errorf("cannot parse a pod: %w", err)
		}
		if pod := decodePod(object); !seen[pod.UID] {
			seen[pod.UID] = true
			pods = append(pods, pod)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot list the pods of Node %s: %w", node, err)
	}
	return pods, nil
}

func decodePod(object podObject) Pod {
	meta := object.Metadata
	pod := Pod{Namespace: meta.Namespace, Name: meta.Name, UID: meta.UID, Phase: object.Status.Phase, DeletionTimestamp: meta.DeletionTimestamp}
	_, pod.Mirror = meta.Annotations[mirrorAnnotation]
	for _, owner := range meta.OwnerReferences {
		if owner.Controller {
			pod.Controller, pod.ControllerAPI = owner.Kind, owner.APIVersion
		}
	}
	for _, volume := range object.Spec.Volumes {
		pod.EmptyDir = pod.EmptyDir || volume.EmptyDir != nil
	}
	return pod
}

// Evict asks for the pod's eviction: PodDisruptionBudgets may refuse it. It
// concerns this pod only, not one that took its name. Errors: ErrUnreachable; a
// *StatusError of 429 (a budget allows none now, or the server is busy), 404 (it
// is gone), 403 (it is not this node's, or its namespace is ending), 409 (another
// has its name), 500 (it has more than one budget).
func (c *Client) Evict(ctx context.Context, pod Pod, removal Removal) error {
	eviction := map[string]any{
		"apiVersion": "policy/v1", "kind": "Eviction",
		"metadata":      map[string]any{"namespace": pod.Namespace, "name": pod.Name},
		"deleteOptions": deleteOptions(pod, removal),
	}
	if _, err := c.send(ctx, http.MethodPost, podPath(pod)+"/eviction", dryRun(removal), jsonType, eviction); err != nil {
		return fmt.Errorf("cannot evict pod %s: %w", pod, err)
	}
	return nil
}

// Delete asks for the pod's deletion, whatever PodDisruptionBudgets say. Errors are
// those of Evict but for budgets.
func (c *Client) Delete(ctx context.Context, pod Pod, removal Removal) error {
	if _, err := c.send(ctx, http.MethodDelete, podPath(pod), dryRun(removal), jsonType, deleteOptions(pod, removal)); err != nil {
		return fmt.Errorf("cannot delete pod %s: %w", pod, err)
	}
	return nil
}

func podPath(pod Pod) string {
	return "/api/v1/namespaces/" + url.PathEscape(pod.Namespace) + "/pods/" + url.PathEscape(pod.Name)
}

func deleteOptions(pod Pod, removal Removal) map[string]any {
	options := map[string]any{
		"apiVersion": "v1", "kind": "DeleteOptions",
		"preconditions": map[string]any{"uid": pod.UID},
	}
	if removal.GracePeriod >= 0 {
		options["gracePeriodSeconds"] = removal.GracePeriod
	}
	if removal.DryRun {
		options["dryRun"] = []string{"All"}
	}
	return options
}

// dryRun is asked for in the address as well: the server takes the stricter of the
// two for an eviction, and only its own field for a deletion.
func dryRun(removal Removal) url.Values {
	if !removal.DryRun {
		return nil
	}
	return url.Values{"dryRun": {"All"}}
}
