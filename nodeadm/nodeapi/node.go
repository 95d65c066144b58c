package nodeapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// CordonedBy is the annotation under which a cordon of ours names who did it.
const CordonedBy = "hybrid-agent/cordoned-by"

// Node is what the Kubernetes API says of this host.
type Node struct {
	// Name of the Node.
	Name string
	// UID tells a Node from a former one of the same name.
	UID string
	// CreationTimestamp is when it was registered, by the server's clock.
	CreationTimestamp time.Time
	// Ready is the status of the Ready condition.
	Ready bool
	// Reason and Message are those of the Ready condition.
	Reason, Message string
	// ReadySince is when the Ready condition last changed.
	ReadySince time.Time
	// KubeletVersion is kubelet's version, for example v1.31.5-eks-1234567.
	KubeletVersion string
	// InternalIP is the Node's internal address; empty: none yet.
	InternalIP string
	// Unschedulable says that the Node is cordoned, by whomever.
	Unschedulable bool
	// CordonedBy is the mark of our cordon; empty: it is not ours, or there is none.
	CordonedBy string
	// Labels of the Node.
	Labels map[string]string
	// Taints of the Node, by whomever.
	Taints []Taint

	// resourceVersion is the version that a change is made of.
	resourceVersion string
}

// Taint keeps pods away from a Node.
type Taint struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Effect string `json:"effect"`
}

// Node gets the Node. Errors: ErrNoNode, ErrUnreachable, *StatusError.
func (c *Client) Node(ctx context.Context, name string) (Node, error) {
	body, err := c.get(ctx, nodePath(name), nil)
	if err != nil {
		return Node{}, fmt.Errorf("cannot read Node %s: %w", name, noNode(err))
	}
	node, err := decodeNode(body)
	if err != nil {
		return Node{}, fmt.Errorf("cannot read Node %s: %w", name, err)
	}
	return node, nil
}

func nodePath(name string) string { return "/api/v1/nodes/" + url.PathEscape(name) }

// noNode gives the answer 404 its name.
func noNode(err error) error {
	if hasCode(err, http.StatusNotFound) {
		return ErrNoNode
	}
	return err
}

// nodeObject is the part of a Node that is of use here.
type nodeObject struct {
	Metadata struct {
		Name              string            `json:"name"`
		UID               string            `json:"uid"`
		ResourceVersion   string            `json:"resourceVersion"`
		CreationTimestamp time.Time         `json:"creationTimestamp"`
		Labels            map[string]string `json:"labels"`
		Annotations       map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		Unschedulable bool    `json:"unschedulable"`
		Taints        []Taint `json:"taints"`
	} `json:"spec"`
	Status struct {
		Conditions []condition `json:"conditions"`
		Addresses  []struct {
			Type    string `json:"type"`
			Address string `json:"address"`
		} `json:"addresses"`
		NodeInfo struct {
			KubeletVersion string `json:"kubeletVersion"`
		} `json:"nodeInfo"`
	} `json:"status"`
}

// condition is one of a Node or of a certificate request.
type condition struct {
	Type               string    `json:"type"`
	Status             string    `json:"status"`
	Reason             string    `json:"reason"`
	Message            string    `json:"message"`
	LastTransitionTime time.Time `json:"lastTransitionTime"`
}

func decodeNode(body []byte) (Node, error) {
	var object nodeObject
	if err := json.Unmarshal(body, &object); err != nil {
		return Node{}, fmt.Errorf("cannot parse the Node: %w", err)
	}
	node := Node{
		Name: object.Metadata.Name, UID: object.Metadata.UID,
		CreationTimestamp: object.Metadata.CreationTimestamp,
		KubeletVersion:    object.Status.NodeInfo.KubeletVersion,
		Unschedulable:     object.Spec.Unschedulable,
		CordonedBy:        object.Metadata.Annotations[CordonedBy],
		Labels:            object.Metadata.Labels,
		Taints:            object.Spec.Taints,
		resourceVersion:   object.Metadata.ResourceVersion,
	}
	for _, address := range object.Status.Addresses {
		if address.Type == "InternalIP" && node.InternalIP == "" {
			node.InternalIP = address.Address
		}
	}
	for _, c := range object.Status.Conditions {
		if c.Type == "Ready" {
			node.Ready = c.Status == "True"
			node.Reason, node.Message, node.ReadySince = c.Reason, c.Message, c.LastTransitionTime
		}
	}
	return node, nil
}
