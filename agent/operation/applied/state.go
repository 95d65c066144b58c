package applied

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"hybridagent/agent/store"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// State is the node part that is in force.
type State struct {
	// NodeDigest is the plane's digest of it.
	NodeDigest string `json:"nodeDigest"`
	// KubernetesVersion is its Kubernetes version.
	KubernetesVersion string `json:"kubernetesVersion"`
	// NodeIP is the address given to kubelet.
	NodeIP string `json:"nodeIP"`
	// NodeName is the Node's name.
	NodeName string `json:"nodeName"`
	// OperationID is the operation that applied it.
	OperationID string `json:"operationID"`
	// At is when, by the host's clock.
	At time.Time `json:"at"`
	// Provider is the credential provider, ssm or iam-ra; empty: applied by a
	// version that did not keep it.
	Provider string `json:"provider,omitempty"`
	// Nodeadm is the SHA-256 of the nodeadm binary that was used, hexadecimal;
	// empty: not known.
	Nodeadm string `json:"nodeadm,omitempty"`
	// Node is the whole node part without secrets, which a way back is made from;
	// nil: applied by a version that did not keep it.
	Node *agentv1.NodeSpec `json:"-"`
}

// Public returns a copy of a node part without its secrets: an SSM activation
// keeps its ID and loses its code.
func Public(spec *agentv1.NodeSpec) *agentv1.NodeSpec {
	public := proto.CloneOf(spec)
	if ssm := public.GetAccess().GetSsm(); ssm != nil {
		ssm.ActivationCode = ""
	}
	return public
}

// stored is a State as it lies on disk: schema 1 had neither provider, nodeadm
// nor node.
type stored struct {
	State
	// Node is the encoded NodeSpec.
	Node []byte `json:"node,omitempty"`
}

// readState reads a record of the present schema or of an older one, which only
// knows less.
func readState(path string) (State, bool, error) {
	var record stored
	found, err := read(path, appliedSchema, &record)
	var schema *store.SchemaError
	if errors.As(err, &schema) && schema.Have == 1 {
		found, err = read(path, 1, &record)
	}
	if err != nil || !found {
		return State{}, found, err
	}
	if len(record.Node) > 0 {
		record.State.Node = &agentv1.NodeSpec{}
		if err := proto.Unmarshal(record.Node, record.State.Node); err != nil {
			return State{}, false, &DamagedError{fmt.Errorf("cannot read the node part in %s: %w", path, err)}
		}
	}
	return record.State, true, nil
}

func writeState(path string, state State) error {
	record := stored{State: state}
	if state.Node != nil {
		encoded, err := proto.Marshal(Public(state.Node))
		if err != nil {
			return fmt.Errorf("cannot encode the node part: %w", err)
		}
		record.Node = encoded
	}
	payload, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("cannot encode %s: %w", path, err)
	}
	return store.Write(path, appliedSchema, payload)
}
