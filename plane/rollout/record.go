package rollout

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"hybridagent/plane/store"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

const (
	recordPrefix = "operation/"
	epochKey     = "meta/epoch"
)

// record is what is stored of a host's operations, as JSON. It outlives the
// host's removal: root on a host refuses a sequence that is not higher than the
// last, whatever the plane has forgotten.
type record struct {
	Schema int `json:"schema"`
	// Epoch and Counter of the operation signed last.
	Epoch   uint64 `json:"epoch"`
	Counter uint64 `json:"counter"`
	// Pending is signed and has not ended; nil: none.
	Pending *order `json:"pending,omitempty"`
	// Abort of the pending operation; nil: nobody asked for its end.
	Abort *order `json:"abort,omitempty"`
	// Last operation on the node that has ended; nil: none, or an operator asked for
	// another try.
	Last *order `json:"last,omitempty"`
	// LastSwitch is the last live network switch that has ended; nil: none. It never
	// counts as a provisioning.
	LastSwitch *order `json:"lastSwitch,omitempty"`
	// Member is what the host's node belongs to; nil: the host is no node by this
	// plane's doing. A host leaves a cluster only where this says that it is in one:
	// a plane that was made anew must not have every node leave.
	Member *member `json:"member,omitempty"`
	// ForceLeave has the next leave begin although the Kubernetes API does not answer: an
	// operator said so when the last one had failed.
	ForceLeave bool `json:"forceLeave,omitempty"`

	revision int64 // of the record in the store; 0: not stored
	sentOn   uint64
	// maybeSent says that the pending operation may have reached the host.
	maybeSent   bool
	abortSentOn uint64
}

// member is what a node belongs to, kept because the pool may be gone when the node
// has to leave.
type member struct {
	Pool string `json:"pool"`
	// Cluster and Region that the node is in.
	Cluster string `json:"cluster"`
	Region  string `json:"region"`
	// Drain is the encoded DrainOptions of the pool's profile.
	Drain []byte `json:"drain,omitempty"`
}

// order is one signed operation and how it ended.
type order struct {
	ID string `json:"id"`
	// Kind of the operation; records of schema 1 lack it (see kind).
	Kind agentv1.OperationKind `json:"kind,omitempty"`
	// Envelope is the encoded SignedOperation; dropped once it has ended. The node
	// part in it may hold an activation code, so it is never stored as it is.
	Envelope []byte `json:"-"`
	// Sealed is the envelope as stored, under envelopeLabel; set by write only.
	Sealed []byte `json:"sealed,omitempty"`
	// What it was signed for.
	Generation uint64 `json:"generation"`
	NodeDigest string `json:"nodeDigest"`
	NodeIP     string `json:"nodeIp"`
	EnrolledAt int64  `json:"enrolledAt"`
	// Switch of the network; nil: an operation of another kind.
	Switch *switchOrder `json:"switch,omitempty"`
	// SignedAt and EndedAt by the plane's clock.
	SignedAt time.Time `json:"signedAt,omitzero"`
	EndedAt  time.Time `json:"endedAt,omitzero"`
	// State it ended in; 0: it has not.
	State agentv1.OperationState `json:"state,omitempty"`
	// Step, Percent and Message of its end.
	Step    string `json:"step,omitempty"`
	Percent uint32 `json:"percent,omitempty"`
	Message string `json:"message,omitempty"`
	// Remark is what the plane made of its end, a sentence for people.
	Remark string `json:"remark,omitempty"`
}

// switchOrder is what a live network switch brings about.
type switchOrder struct {
	// VPNServers to lead the routes through.
	VPNServers []string `json:"vpnServers"`
	// Former are those that the pool had for the host when it was signed.
	Former []string `json:"former,omitempty"`
	// AnswerBy is when a host that has not told the end is taken to have failed.
	AnswerBy time.Time `json:"answerBy"`
}

// kind of the operation. Schema 1 knew provisionings and live network switches.
func (o *order) kind() agentv1.OperationKind {
	switch {
	case o.Kind != 0:
		return o.Kind
	case o.Switch != nil:
		return agentv1.OperationKind_OPERATION_KIND_LIVE_NETWORK_SWITCH
	default:
		return agentv1.OperationKind_OPERATION_KIND_PROVISION
	}
}

// end is the record once its pending operation has ended.
func (r record) end(o order) (record, *order) {
	o.Envelope = nil
	r.Pending, r.Abort = nil, nil
	if o.Switch != nil {
		r.LastSwitch = &o
	} else {
		r.Last = &o
	}
	if o.kind() == agentv1.OperationKind_OPERATION_KIND_LEAVE && o.State == agentv1.OperationState_OPERATION_STATE_SUCCEEDED {
		r.Member = nil
	}
	return r, &o
}

func (o *order) signed() (*agentv1.SignedOperation, error) {
	env := &agentv1.SignedOperation{}
	if err := proto.Unmarshal(o.Envelope, env); err != nil {
		return nil, fmt.Errorf("cannot decode operation %s: %w", o.ID, err)
	}
	return env, nil
}

// pendingLabel and abortLabel bind a sealed envelope to its host's record.
func pendingLabel(hostID string) string { return recordPrefix + hostID + "#pending.envelope" }
func abortLabel(hostID string) string   { return recordPrefix + hostID + "#abort.envelope" }

// recordSchema 2 has the kind of operations, aborts and what a node belongs to.
const recordSchema = 2

func (r record) write(st *store.Store, hostID string) (store.Write, error) {
	r.Schema = recordSchema
	var err error
	if r.Pending, err = seal(st, pendingLabel(hostID), r.Pending); err != nil {
		return store.Write{}, err
	}
	if r.Abort, err = seal(st, abortLabel(hostID), r.Abort); err != nil {
		return store.Write{}, err
	}
	b, err := json.Marshal(r)
	if err != nil {
		return store.Write{}, fmt.Errorf("cannot encode the operations of host %s: %w", hostID, err)
	}
	return store.Write{Key: recordPrefix + hostID, Value: b}, nil
}

// seal is an order with its envelope as it is stored.
func seal(st *store.Store, label string, o *order) (*order, error) {
	if o == nil {
		return nil, nil
	}
	sealed, err := st.Seal(label, o.Envelope)
	if err != nil {
		return nil, err
	}
	c := *o
	c.Sealed = sealed
	return &c, nil
}

func unseal(st *store.Store, label string, o *order) error {
	if o == nil {
		return nil
	}
	envelope, err := st.Unseal(label, o.Sealed)
	if err != nil {
		return err
	}
	o.Envelope, o.Sealed = envelope, nil
	return nil
}

func decodeRecord(st *store.Store, e store.Entry) (*record, error) {
	r := &record{}
	if err := json.Unmarshal(e.Value, r); err != nil {
		return nil, fmt.Errorf("cannot decode %s: %w", e.Key, err)
	}
	r.revision, r.maybeSent = e.Revision, true
	id := strings.TrimPrefix(e.Key, recordPrefix)
	if err := unseal(st, pendingLabel(id), r.Pending); err != nil {
		return nil, fmt.Errorf("cannot read the pending operation of %s: %w", e.Key, err)
	}
	if err := unseal(st, abortLabel(id), r.Abort); err != nil {
		return nil, fmt.Errorf("cannot read the abort of %s: %w", e.Key, err)
	}
	return r, nil
}
