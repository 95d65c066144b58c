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
	// Last provisioning that has ended; nil: none, or an operator asked for another
	// try.
	Last *order `json:"last,omitempty"`
	// LastSwitch is the last live network switch that has ended; nil: none. It never
	// counts as a provisioning.
	LastSwitch *order `json:"lastSwitch,omitempty"`

	revision int64 // of the record in the store; 0: not stored
	sentOn   uint64
}

// order is one signed operation and how it ended.
type order struct {
	ID string `json:"id"`
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
	// Switch of the network; nil: a provisioning.
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

// kind of the operation.
func (o *order) kind() agentv1.OperationKind {
	if o.Switch != nil {
		return agentv1.OperationKind_OPERATION_KIND_LIVE_NETWORK_SWITCH
	}
	return agentv1.OperationKind_OPERATION_KIND_PROVISION
}

// end is the record once its pending operation has ended.
func (r record) end(o order) (record, *order) {
	o.Envelope = nil
	r.Pending = nil
	if o.Switch != nil {
		r.LastSwitch = &o
	} else {
		r.Last = &o
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

// envelopeLabel binds a sealed envelope to its host's record.
func envelopeLabel(hostID string) string { return recordPrefix + hostID + "#pending.envelope" }

func (r record) write(st *store.Store, hostID string) (store.Write, error) {
	r.Schema = 1
	if r.Pending != nil {
		sealed, err := st.Seal(envelopeLabel(hostID), r.Pending.Envelope)
		if err != nil {
			return store.Write{}, err
		}
		pending := *r.Pending
		pending.Sealed = sealed
		r.Pending = &pending
	}
	b, err := json.Marshal(r)
	if err != nil {
		return store.Write{}, fmt.Errorf("cannot encode the operations of host %s: %w", hostID, err)
	}
	return store.Write{Key: recordPrefix + hostID, Value: b}, nil
}

func decodeRecord(st *store.Store, e store.Entry) (*record, error) {
	r := &record{}
	if err := json.Unmarshal(e.Value, r); err != nil {
		return nil, fmt.Errorf("cannot decode %s: %w", e.Key, err)
	}
	r.revision = e.Revision
	if r.Pending == nil {
		return r, nil
	}
	envelope, err := st.Unseal(envelopeLabel(strings.TrimPrefix(e.Key, recordPrefix)), r.Pending.Sealed)
	if err != nil {
		return nil, fmt.Errorf("cannot read the pending operation of %s: %w", e.Key, err)
	}
	r.Pending.Envelope, r.Pending.Sealed = envelope, nil
	return r, nil
}
