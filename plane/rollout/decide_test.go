package rollout

import (
	"testing"
	"time"

	"hybridagent/plane/fleet"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// readyView is a host for which a first operation is due.
func readyView() fleet.View {
	return fleet.View{
		HostID: "edge-1", Stream: 3, EnrolledAt: 1, Generation: 7,
		Assignment: &agentv1.Assignment{Pool: "shop-1", NodeDigest: "d1"},
		Status:     &agentv1.HostStatus{ReadyToProvision: true, NodeIp: "10.200.0.11", Generation: 7},
		Result:     &agentv1.AssignmentResult{Accepted: true, Generation: 7},
	}
}

func pending() *record {
	return &record{Pending: &order{ID: "op", Generation: 7, NodeDigest: "d1", NodeIP: "10.200.0.11", EnrolledAt: 1}, sentOn: 3}
}

func ended(state agentv1.OperationState) *record {
	r := pending()
	r.Last, r.Pending = r.Pending, nil
	r.Last.State = state
	return r
}

func TestDecide(t *testing.T) {
	const (
		failed    = agentv1.OperationState_OPERATION_STATE_FAILED
		succeeded = agentv1.OperationState_OPERATION_STATE_SUCCEEDED
	)
	for name, c := range map[string]struct {
		record *record
		change func(*fleet.View)
		want   action
	}{
		"first":                   {&record{}, func(*fleet.View) {}, actSign},
		"not connected":           {&record{}, func(v *fleet.View) { v.Stream = 0 }, actNothing},
		"in no pool":              {&record{}, func(v *fleet.View) { v.Assignment = &agentv1.Assignment{} }, actNothing},
		"not ready":               {&record{}, func(v *fleet.View) { v.Status.ReadyToProvision = false }, actNothing},
		"no node IP":              {&record{}, func(v *fleet.View) { v.Status.NodeIp = "" }, actNothing},
		"provisioned":             {&record{}, func(v *fleet.View) { v.Status.AppliedNodeDigest = "d0" }, actNothing},
		"has an older assignment": {&record{}, func(v *fleet.View) { v.Status.Generation = 6 }, actNothing},
		"refused the assignment":  {&record{}, func(v *fleet.View) { v.Result.Accepted = false }, actNothing},
		"accepted an older one":   {&record{}, func(v *fleet.View) { v.Result.Generation = 6 }, actNothing},
		"has said nothing":        {&record{}, func(v *fleet.View) { v.Status, v.Result = nil, nil }, actNothing},
		"pending":                 {pending(), func(*fleet.View) {}, actNothing},
		"pending, new stream":     {pending(), func(v *fleet.View) { v.Stream = 4 }, actSend},
		"pending, no stream":      {pending(), func(v *fleet.View) { v.Stream = 0 }, actNothing},
		"pending, left the pool": {pending(), func(v *fleet.View) {
			v.Stream, v.Assignment = 4, &agentv1.Assignment{}
		}, actNothing},
		"pending, reinstalled, not ready": {pending(), func(v *fleet.View) {
			v.Stream, v.EnrolledAt, v.Status = 4, 2, nil
		}, actNothing},
		"pending, another node part":        {pending(), func(v *fleet.View) { v.Assignment.NodeDigest = "d2" }, actSign},
		"pending, another node IP":          {pending(), func(v *fleet.View) { v.Status.NodeIp = "10.200.0.12" }, actSign},
		"pending, reinstalled":              {pending(), func(v *fleet.View) { v.EnrolledAt = 2 }, actSign},
		"pending and outdated, not ready":   {pending(), func(v *fleet.View) { v.Assignment.NodeDigest, v.Status.ReadyToProvision = "d2", false }, actNothing},
		"pending and outdated, but it runs": {pending(), func(v *fleet.View) { v.Assignment.NodeDigest, v.Operation = "d2", progress("op", 2) }, actNothing},
		"failed":                            {ended(failed), func(*fleet.View) {}, actNothing},
		"failed, new stream":                {ended(failed), func(v *fleet.View) { v.Stream = 9 }, actNothing},
		"failed, new generation": {ended(failed), func(v *fleet.View) {
			v.Generation, v.Status.Generation, v.Result.Generation = 8, 8, 8
		}, actSign},
		"failed, new node IP":      {ended(failed), func(v *fleet.View) { v.Status.NodeIp = "10.200.0.12" }, actSign},
		"failed, reinstalled":      {ended(failed), func(v *fleet.View) { v.EnrolledAt = 2 }, actSign},
		"succeeded, status is old": {ended(succeeded), func(*fleet.View) {}, actNothing},
		"succeeded, new generation": {ended(succeeded), func(v *fleet.View) {
			v.Generation, v.Status.Generation, v.Result.Generation = 8, 8, 8
		}, actNothing},
		"succeeded, reinstalled": {ended(succeeded), func(v *fleet.View) { v.EnrolledAt = 2 }, actSign},
	} {
		v := readyView()
		c.change(&v)
		if got := decide(c.record, v); got != c.want {
			t.Errorf("%s: action %d, want %d", name, got, c.want)
		}
	}
}

func now() time.Time { return time.Unix(1e9, 0) }

func progress(id string, state agentv1.OperationState) *agentv1.OperationProgress {
	return &agentv1.OperationProgress{OperationId: id, State: state}
}

func TestConclude(t *testing.T) {
	for state, want := range map[agentv1.OperationState]bool{
		agentv1.OperationState_OPERATION_STATE_PENDING:   false,
		agentv1.OperationState_OPERATION_STATE_RUNNING:   false,
		agentv1.OperationState_OPERATION_STATE_SUCCEEDED: true,
		agentv1.OperationState_OPERATION_STATE_FAILED:    true,
		agentv1.OperationState_OPERATION_STATE_REFUSED:   true,
	} {
		r, ended := conclude(*pending(), progress("op", state), now())
		if (ended != nil) != want || want && (r.Pending != nil || r.Last != ended || r.Last.State != state || r.LastSwitch != nil) {
			t.Errorf("%v: ended %v with %+v, want %v", state, ended, r, want)
		}
		if _, ended := conclude(*pending(), progress("another", state), now()); ended != nil {
			t.Errorf("%v of another operation ended this one", state)
		}
	}
}

func TestSequenceGrows(t *testing.T) {
	for _, c := range []struct{ epoch, counter, plane, wantEpoch, wantCounter uint64 }{
		{0, 0, 1, 1, 1}, {1, 1, 1, 1, 2}, {1, 9, 2, 2, 1}, {3, 4, 2, 3, 5},
	} {
		epoch, counter := next(record{Epoch: c.epoch, Counter: c.counter}, c.plane)
		if epoch != c.wantEpoch || counter != c.wantCounter {
			t.Errorf("after %d/%d in epoch %d comes %d/%d, want %d/%d", c.epoch, c.counter, c.plane, epoch, counter, c.wantEpoch, c.wantCounter)
		}
	}
}
