package rollout

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"hybridagent/plane/store"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

const (
	rolloutPrefix = "rollout/"
	rolloutSchema = 1
	// repaveAnswer is how long a host's turn may take before its pool's rollout stops:
	// the operation's own hour does not count the time that the host is without power.
	repaveAnswer = 2 * time.Hour
	// answerTime is how long, at the begin of a rollout, the order of the pool is kept
	// for hosts that are connected and have not answered their assignment: a trial of
	// the network takes up to 45 s.
	answerTime = time.Minute
)

// poolRollout is what is stored of a pool's repave, as JSON. A value of it is never
// changed: a step makes another.
type poolRollout struct {
	Schema int `json:"schema"`
	// MadeAt is when the pool was made: another of the same name begins anew.
	MadeAt time.Time `json:"madeAt,omitzero"`
	// Profile version that was chosen when the plane last looked: another one starts a
	// rollout.
	Profile string `json:"profile"`
	// State; 0: there was no rollout yet.
	State planev1.RolloutState `json:"state,omitempty"`
	Turns []turn               `json:"turns,omitempty"`
	// Message is why it stopped.
	Message   string    `json:"message,omitempty"`
	StartedAt time.Time `json:"startedAt,omitzero"`
	EndedAt   time.Time `json:"endedAt,omitzero"`

	revision int64 // in the store; 0: not stored
}

// turnState is where a host's turn is.
type turnState string

const (
	turnWaits    turnState = "waits"
	turnUnderway turnState = "underway"
	turnDone     turnState = "done"
	turnFailed   turnState = "failed"
)

// turn is one host of a rollout.
type turn struct {
	HostID string    `json:"hostId"`
	State  turnState `json:"state"`
	// Force repeats what is in force already.
	Force bool `json:"force,omitempty"`
	// ReconfigureOnly refuses whatever needs a drain.
	ReconfigureOnly bool `json:"reconfigureOnly,omitempty"`
	// OperationID and Since of a turn that is under way, or was.
	OperationID string    `json:"operationId,omitempty"`
	Since       time.Time `json:"since,omitzero"`
}

func (ro poolRollout) running() bool {
	return ro.State == planev1.RolloutState_ROLLOUT_STATE_RUNNING
}

func (ro poolRollout) clone() poolRollout {
	ro.Turns = slices.Clone(ro.Turns)
	return ro
}

// same says whether there is nothing to store.
func (ro poolRollout) same(other poolRollout) bool {
	return ro.Profile == other.Profile && ro.State == other.State && ro.Message == other.Message && ro.MadeAt.Equal(other.MadeAt) &&
		ro.StartedAt.Equal(other.StartedAt) && slices.Equal(ro.Turns, other.Turns)
}

func (ro poolRollout) turn(hostID string) (turn, bool) {
	for _, t := range ro.Turns {
		if t.HostID == hostID {
			return t, true
		}
	}
	return turn{}, false
}

func (ro poolRollout) write(pool string) (store.Write, error) {
	ro.Schema = rolloutSchema
	b, err := json.Marshal(ro)
	if err != nil {
		return store.Write{}, fmt.Errorf("cannot encode the rollout of pool %s: %w", pool, err)
	}
	return store.Write{Key: rolloutPrefix + pool, Value: b}, nil
}

func decodeRollout(e store.Entry) (*poolRollout, error) {
	ro := &poolRollout{}
	if err := json.Unmarshal(e.Value, ro); err != nil {
		return nil, fmt.Errorf("cannot decode %s: %w", e.Key, err)
	}
	ro.revision = e.Revision
	return ro, nil
}
