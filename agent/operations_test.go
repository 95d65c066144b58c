package agent

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap/zaptest"

	"hybridagent/agent/internal/planetest"
	"hybridagent/agent/operation"
	"hybridagent/agent/session"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

type tellProgress = func(*agentv1.OperationProgress)

// provision is an operation whose ID is a letter many times over.
func provision(letter string) *agentv1.Operation {
	return &agentv1.Operation{
		Id: strings.Repeat(letter, 26), HostId: testHost, Kind: agentv1.OperationKind_OPERATION_KIND_PROVISION,
		Sequence: &agentv1.Sequence{Epoch: 1, Counter: 1}, Node: shop().GetNode(), NodeDigest: shop().GetNodeDigest(), NodeIp: "10.200.0.11",
	}
}

// watchOperations runs the task by the fake clock.
func watchOperations(t *testing.T, plane *planetest.Plane, d *scripted, test func(o *operations)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o := newOperations(zaptest.NewLogger(t), d, session.NewOutbox())
		pin, _ := operation.ParsePin(plane.Pin())
		o.trust = func() operation.Trust { return operation.Trust{Pins: []operation.Pin{pin}, HostID: testHost} }
		// The certificates are of the real clock, the bubble's begins in 2000.
		start := time.Now()
		o.now = func() time.Time { return plane.Now().Add(time.Since(start)) }
		o.begin, o.changed, o.ended = func(*agentv1.Operation) error { return nil }, func() {}, func() {}
		ctx, cancel := context.WithCancel(t.Context())
		finished := make(chan error, 1)
		go func() { finished <- o.Run(ctx) }()
		synctest.Wait()
		test(o)
		cancel()
		if err := <-finished; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
}

func refuseWith(reason agentv1.DoorRefusalReason, message string) func(tellProgress) (*agentv1.OperationProgress, error) {
	return func(tellProgress) (*agentv1.OperationProgress, error) {
		return nil, operation.Refuse(reason, "%s", message)
	}
}

func succeed(op *agentv1.Operation) func(tellProgress) (*agentv1.OperationProgress, error) {
	return func(tell tellProgress) (*agentv1.OperationProgress, error) {
		done := &agentv1.OperationProgress{OperationId: op.GetId(), State: agentv1.OperationState_OPERATION_STATE_SUCCEEDED}
		tell(done)
		return done, nil
	}
}

// TestOperationOutlivesItsConnections: hybrid-agent-op restarts in the middle,
// cannot be reached and is busy for a while, and ends the operation all the same.
func TestOperationOutlivesItsConnections(t *testing.T) {
	t.Parallel()
	plane := planetest.New(t)
	op := provision("a")
	running := &agentv1.OperationProgress{OperationId: op.GetId(), State: agentv1.OperationState_OPERATION_STATE_RUNNING, Step: "nodeadm-install"}
	done := &agentv1.OperationProgress{OperationId: op.GetId(), State: agentv1.OperationState_OPERATION_STATE_SUCCEEDED}
	d := &scripted{answers: []func(tellProgress) (*agentv1.OperationProgress, error){
		func(tell tellProgress) (*agentv1.OperationProgress, error) {
			tell(running)
			return nil, operation.ErrInterrupted
		},
		func(tellProgress) (*agentv1.OperationProgress, error) { return nil, errors.New("no such socket") },
		func(tellProgress) (*agentv1.OperationProgress, error) {
			return nil, operation.Refuse(agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_BUSY, "another runs; submit it again")
		},
		func(tell tellProgress) (*agentv1.OperationProgress, error) { tell(done); return done, nil },
	}}
	watchOperations(t, plane, d, func(o *operations) {
		o.offer(plane.Sign(op))
		time.Sleep(time.Minute)
		synctest.Wait()
		if f := o.facts(); f.running || !succeeded(f.progress) || f.doorErr != nil || d.count() != 4 {
			t.Errorf("%+v after %d submits", f, d.count())
		}
		o.offer(plane.Sign(op)) // the plane missed the end
		time.Sleep(time.Second)
		if d.count() != 4 {
			t.Errorf("an operation that has ended was submitted again")
		}
		op.Id = "bbbbbbbbbbbbbbbbbbbbbbbbbb"
		d.set(func(d *scripted) {
			d.answers = append(d.answers, func(tellProgress) (*agentv1.OperationProgress, error) {
				return nil, operation.Refuse(agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_STALE, "not higher than the last one")
			})
		})
		o.offer(plane.Sign(op))
		time.Sleep(time.Second)
		synctest.Wait()
		f := o.facts()
		if r := f.refused; f.running || !succeeded(f.progress) || r.GetMessage() != "not higher than the last one" || r.GetOperationId() != op.GetId() ||
			r.GetState() != agentv1.OperationState_OPERATION_STATE_REFUSED || r.GetKind() != op.GetKind() || r.GetNodeDigest() != op.GetNodeDigest() {
			t.Errorf("after a refusal: %+v", f)
		}
		o.offer(plane.Sign(op)) // the plane missed the refusal
		time.Sleep(time.Second)
		if d.count() != 5 {
			t.Errorf("an operation that was refused was submitted again")
		}
	})
}

// TestRefusalThatPasses: root is busy, or could not, or its clock is off: the
// operation waits instead of being reported as refused for good.
func TestRefusalThatPasses(t *testing.T) {
	t.Parallel()
	for reason, shown := range map[agentv1.DoorRefusalReason]string{
		agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_BUSY:         "DoorBusy",
		agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_FAILED:       "DoorFailed",
		agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_PRECONDITION: "ClockWrong",
	} {
		t.Run(shown, func(t *testing.T) {
			t.Parallel()
			plane, op := planetest.New(t), provision("a")
			d := &scripted{answers: []func(tellProgress) (*agentv1.OperationProgress, error){
				refuseWith(reason, "not now"), refuseWith(reason, "not now"), succeed(op),
			}}
			watchOperations(t, plane, d, func(o *operations) {
				o.offer(plane.Sign(op))
				synctest.Wait()
				f := healthyFacts(t)
				f.operation = o.facts()
				if v := operationRunning(f); v.reason != shown || v.message != "not now" {
					t.Errorf("shown as %+v", v)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if f := o.facts(); !succeeded(f.progress) || f.refused != nil || f.doorErr != nil || d.count() != 3 {
					t.Errorf("%+v after %d submits", f, d.count())
				}
			})
		})
	}
}

// TestClockThatIsOffPasses: the daemon's own judgement of the signing certificate is
// repeated, too.
func TestClockThatIsOffPasses(t *testing.T) {
	t.Parallel()
	plane, op := planetest.New(t), provision("a")
	d := &scripted{answers: []func(tellProgress) (*agentv1.OperationProgress, error){succeed(op)}}
	watchOperations(t, plane, d, func(o *operations) {
		right, start := o.now, time.Now()
		o.now = func() time.Time {
			if time.Since(start) < time.Minute {
				return right().AddDate(-1, 0, 0)
			}
			return right()
		}
		o.offer(plane.Sign(op))
		time.Sleep(30 * time.Second)
		synctest.Wait()
		f := healthyFacts(t)
		f.operation = o.facts()
		if v := operationRunning(f); v.reason != "ClockWrong" || f.operation.refused != nil {
			t.Errorf("shown as %+v", v)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if f := o.facts(); !succeeded(f.progress) || f.doorErr != nil || d.count() != 1 {
			t.Errorf("%+v after %d submits", f, d.count())
		}
	})
}

// TestNewerOperationTakesThePlaceOfOneThatWaits, and the same one sent again does
// not.
func TestNewerOperationTakesThePlaceOfOneThatWaits(t *testing.T) {
	t.Parallel()
	plane, former, newer := planetest.New(t), provision("a"), provision("b")
	const busy = agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_BUSY
	handed := []string{}
	d := &scripted{}
	take := func(op *agentv1.Operation, answer func(tellProgress) (*agentv1.OperationProgress, error)) func(tellProgress) (*agentv1.OperationProgress, error) {
		return func(tell tellProgress) (*agentv1.OperationProgress, error) {
			handed = append(handed, op.GetId()[:1])
			return answer(tell)
		}
	}
	d.answers = append(d.answers, take(former, refuseWith(busy, "not now")), take(newer, succeed(newer)))
	watchOperations(t, plane, d, func(o *operations) {
		o.offer(plane.Sign(former))
		synctest.Wait()
		o.offer(plane.Sign(former)) // after a new stream
		synctest.Wait()
		if d.count() != 1 {
			t.Errorf("%d submits, the backoff is gone", d.count())
		}
		o.offer(plane.Sign(newer))
		synctest.Wait()
		if f := o.facts(); f.progress.GetOperationId() != newer.GetId() || !succeeded(f.progress) || strings.Join(handed, "") != "ab" {
			t.Errorf("%+v; handed on: %v", f, handed)
		}
	})
}

// TestOperationOfLocalRootIsFollowed: root on the host has begun one that no plane
// sent; it is found when kubelet changes, and told once.
func TestOperationOfLocalRootIsFollowed(t *testing.T) {
	t.Parallel()
	plane := planetest.New(t)
	d := &scripted{}
	watchOperations(t, plane, d, func(o *operations) {
		told := 0
		o.ended = func() { told++ }
		d.fakeDoor.mu.Lock()
		d.last = &agentv1.OperationProgress{OperationId: "local", State: agentv1.OperationState_OPERATION_STATE_SUCCEEDED}
		d.fakeDoor.mu.Unlock()
		for range 3 {
			o.look()
			synctest.Wait()
			time.Sleep(lookGap + time.Second)
		}
		synctest.Wait()
		if got := o.facts().progress.GetOperationId(); got != "local" || told != 1 {
			t.Errorf("known is %q, told %d times", got, told)
		}
	})
}

// TestAbortThatMeetsItsOperation: root hears of the abort a moment before it takes the
// operation; it is told again.
func TestAbortThatMeetsItsOperation(t *testing.T) {
	t.Parallel()
	plane := planetest.New(t)
	op := provision("a")
	var taken, again chan struct{}
	d := &scripted{}
	aborts := 0
	d.answers = []func(tellProgress) (*agentv1.OperationProgress, error){
		// The operation is on its way; the abort comes in between and finds nothing.
		func(tell tellProgress) (*agentv1.OperationProgress, error) {
			<-taken
			tell(&agentv1.OperationProgress{OperationId: op.GetId(), State: agentv1.OperationState_OPERATION_STATE_RUNNING, Step: "drain"})
			<-again
			end := &agentv1.OperationProgress{OperationId: op.GetId(), State: agentv1.OperationState_OPERATION_STATE_ABORTED}
			tell(end)
			return end, nil
		},
		func(tellProgress) (*agentv1.OperationProgress, error) {
			aborts++
			close(taken)
			return nil, operation.Refuse(agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_PRECONDITION, "no such operation")
		},
		func(tellProgress) (*agentv1.OperationProgress, error) {
			aborts++
			close(again)
			return &agentv1.OperationProgress{State: agentv1.OperationState_OPERATION_STATE_SUCCEEDED}, nil
		},
	}
	watchOperations(t, plane, d, func(o *operations) {
		taken, again = make(chan struct{}), make(chan struct{}) // of the bubble
		o.abortMove = func(string) bool { return false }
		o.offer(plane.Sign(op))
		synctest.Wait()
		o.offer(plane.Sign(&agentv1.Operation{
			Id: strings.Repeat("z", 26), HostId: testHost, Kind: agentv1.OperationKind_OPERATION_KIND_ABORT,
			Sequence: &agentv1.Sequence{Epoch: 1, Counter: 2}, Abort: &agentv1.AbortOrder{OperationId: op.GetId()},
		}))
		time.Sleep(time.Minute)
		synctest.Wait()
		if aborts != 2 {
			t.Errorf("root heard of the abort %d times, want 2", aborts)
		}
	})
}

// TestRootThatDoesNotBegin: a refusal that lasts costs a repave, so that its network
// goes back; silence does not, since root may be at work.
func TestRootThatDoesNotBegin(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer error
		state  agentv1.OperationState
	}{
		"refuses": {operation.Refuse(agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_FAILED, "the disk is full"), agentv1.OperationState_OPERATION_STATE_FAILED},
		"silent":  {errors.New("no such socket"), agentv1.OperationState_OPERATION_STATE_SUCCEEDED},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plane := planetest.New(t)
			op := provision("a")
			op.Kind = agentv1.OperationKind_OPERATION_KIND_REPAVE
			d := &scripted{}
			for range 60 { // some five seconds apart: well over the patience
				d.answers = append(d.answers, func(tellProgress) (*agentv1.OperationProgress, error) { return nil, c.answer })
			}
			d.answers = append(d.answers, succeed(op))
			watchOperations(t, plane, d, func(o *operations) {
				o.moveNetwork = func(context.Context, *agentv1.Operation, func(*agentv1.OperationProgress)) (*agentv1.OperationProgress, bool) {
					return nil, true
				}
				o.offer(plane.Sign(op))
				time.Sleep(2 * movedPatience)
				for o.facts().running {
					time.Sleep(time.Second)
				}
				if end := o.facts().progress; end.GetOperationId() != op.GetId() || end.GetState() != c.state {
					t.Errorf("ended %v, want %v", end, c.state)
				}
			})
		})
	}
}
