package door

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"hybridagent/agent/operation"
	"hybridagent/agent/operation/optest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

const (
	unknownKind  = agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_UNKNOWN_KIND
	precondition = agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_PRECONDITION
	leave        = agentv1.OperationKind_OPERATION_KIND_LEAVE
	repave       = agentv1.OperationKind_OPERATION_KIND_REPAVE
)

// asUser makes the door take every peer for this user.
func asUser(t *testing.T, uid uint32, change func(*Options)) *bench {
	t.Helper()
	return open(t, func(o *Options) {
		if change != nil {
			change(o)
		}
		o.peerOf = func(net.Conn) (peer, error) { return peer{uid: uid, pid: 1}, nil }
	})
}

// all serves every request, and counts them.
func all(calls *atomic.Int32) func(*Options) {
	return func(o *Options) {
		o.LocalRoot = true
		o.Abort = func(id, by string) (string, error) {
			calls.Add(1)
			if by != "local root" {
				return "", errors.New("on behalf of " + by)
			}
			return "00000000000000000000000007", nil
		}
		o.SubmitLocal = func(kind agentv1.OperationKind, force bool) (string, error) {
			calls.Add(1)
			if kind != leave || !force {
				return "", errors.New("something else was asked for")
			}
			return "00000000000000000000000008", nil
		}
		o.Forecast = func(context.Context, *agentv1.ForecastRequest) (*agentv1.Forecast, error) {
			calls.Add(1)
			return &agentv1.Forecast{Path: "uninstall"}, nil
		}
		o.SetNodeLabels = func(_ context.Context, labels map[string]string) (*agentv1.SetNodeLabelsReply, error) {
			calls.Add(1)
			return &agentv1.SetNodeLabelsReply{Changed: labels["a"] == "b"}, nil
		}
		o.NudgeSSMAgent = func(context.Context) (bool, error) { calls.Add(1); return true, nil }
	}
}

// ask makes every request once, and returns what became of each.
func (b *bench) ask(ctx context.Context) map[string]error {
	got := map[string]error{}
	id, err := b.client.Abort(ctx, "")
	got["abort"] = wrong(err, id == "00000000000000000000000007")
	end, err := b.client.SubmitLocal(ctx, leave, true, nil)
	got["submit_local"] = wrong(err, end.GetOperationId() == "00000000000000000000000008")
	forecast, err := b.client.Forecast(ctx, &agentv1.ForecastRequest{Kind: leave})
	got["forecast"] = wrong(err, forecast.GetPath() == "uninstall")
	reply, err := b.client.SetNodeLabels(ctx, map[string]string{"a": "b"})
	got["labels"] = wrong(err, reply.GetChanged())
	nudged, err := b.client.NudgeSSMAgent(ctx)
	got["nudge"] = wrong(err, nudged)
	return got
}

func wrong(err error, right bool) error {
	if err == nil && !right {
		return errors.New("the answer is wrong")
	}
	return err
}

// TestWhoMayAsk is who may have what done without a signature.
func TestWhoMayAsk(t *testing.T) {
	for _, c := range []struct {
		name      string
		uid       uint32
		localRoot bool
		served    int32
		refusal   string // of abort and submit_local
	}{
		{"root at the host", 0, true, 5, ""},
		{"the daemon", 990, true, 3, "only root on this host may; run it with sudo, or have the plane sign it ("},
		{"root, or the daemon run by root", 0, false, 3, "without systemd: root at this host cannot be told from the daemon there; have the plane sign it ("},
	} {
		t.Run(c.name, func(t *testing.T) {
			var calls atomic.Int32
			b := asUser(t, c.uid, func(o *Options) { all(&calls)(o); o.LocalRoot = c.localRoot })
			close(b.engine.hold)
			for request, err := range b.ask(t.Context()) {
				refused := c.refusal != "" && (request == "abort" || request == "submit_local")
				if refused && (!isRefusal(err, forbidden) || !strings.Contains(err.Error(), c.refusal) || !strings.Contains(err.Error(), "hybridctl")) || !refused && err != nil {
					t.Errorf("%s: %v", request, err)
				}
			}
			if calls.Load() != c.served {
				t.Errorf("%d requests were carried out, want %d", calls.Load(), c.served)
			}
		})
	}
}

// TestRequestsOfALaterVersion checks what an older hybrid-agent-op answers.
func TestRequestsOfALaterVersion(t *testing.T) {
	b := asUser(t, 0, func(o *Options) { o.LocalRoot = true })
	for request, err := range b.ask(t.Context()) {
		if !isRefusal(err, unknownKind) || !strings.Contains(err.Error(), "different versions; install both from one package") {
			t.Errorf("%s: %v", request, err)
		}
	}
}

// TestRequestsAreChecked is what root looks at before it does anything.
func TestRequestsAreChecked(t *testing.T) {
	var calls atomic.Int32
	b := asUser(t, 0, all(&calls))
	_, label := b.client.SetNodeLabels(t.Context(), map[string]string{"a b": "c"})
	_, id := b.client.Abort(t.Context(), "../x")
	_, kind := b.client.SubmitLocal(t.Context(), agentv1.OperationKind_OPERATION_KIND_PROVISION, false, nil)
	_, forecast := b.client.Forecast(t.Context(), &agentv1.ForecastRequest{Kind: repave})
	for name, err := range map[string]error{"labels": label, "abort": id, "submit_local": kind, "forecast": forecast} {
		if !isRefusal(err, malformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if calls.Load() != 0 {
		t.Errorf("%d were carried out", calls.Load())
	}
}

// TestCostlyRequestsAreBounded checks that what reaches beyond the host is not done
// as often as one asks.
func TestCostlyRequestsAreBounded(t *testing.T) {
	var calls atomic.Int32
	b := asUser(t, 0, all(&calls))
	for range 2 {
		var last error
		for range requestBurst / 2 {
			_, last = b.client.NudgeSSMAgent(t.Context())
		}
		if !isRefusal(last, busy) {
			t.Errorf("nudge: %v", last)
		}
	}
	if calls.Load() > 4 {
		t.Errorf("the SSM agent was started anew %d times", calls.Load())
	}
}

// TestOneForecastAtATime also checks that a forecast ends when nobody waits for it.
func TestOneForecastAtATime(t *testing.T) {
	began, ended := make(chan struct{}), make(chan struct{})
	b := asUser(t, 990, func(o *Options) {
		o.Forecast = func(ctx context.Context, _ *agentv1.ForecastRequest) (*agentv1.Forecast, error) {
			close(began)
			<-ctx.Done()
			close(ended)
			return nil, ctx.Err()
		}
	})
	ctx, leaves := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := b.client.Forecast(ctx, &agentv1.ForecastRequest{Kind: leave})
		first <- err
	}()
	<-began
	if _, err := b.client.Forecast(t.Context(), &agentv1.ForecastRequest{Kind: leave}); !isRefusal(err, busy) {
		t.Errorf("a second forecast: %v", err)
	}
	leaves()
	<-ended
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the first forecast: %v", err)
	}
}

// TestRootIsNotKeptOut fills the daemon's places: root is served all the same, and
// the daemon's own requests are told to come again.
func TestRootIsNotKeptOut(t *testing.T) {
	var calls atomic.Int32
	var uid atomic.Uint32
	b := open(t, func(o *Options) {
		all(&calls)(o)
		o.peerOf = func(net.Conn) (peer, error) { return peer{uid: uid.Load(), pid: 1}, nil }
	})
	uid.Store(990)
	ctx, end := context.WithCancel(t.Context())
	defer end()
	following := make(chan struct{}, maxConnections)
	for range maxConnections {
		go func() {
			_, _ = b.client.Follow(ctx, "", func(*agentv1.OperationProgress) { following <- struct{}{} })
		}()
	}
	for range maxConnections {
		<-following
	}
	if err := b.client.EraseToken(t.Context()); !isRefusal(err, busy) {
		t.Errorf("the daemon: %v", err)
	}
	uid.Store(0)
	if _, err := b.client.Abort(t.Context(), ""); err != nil {
		t.Errorf("root: %v", err)
	}
}

// TestAbortBySignature checks that the plane's abort goes the way of operations.
func TestAbortBySignature(t *testing.T) {
	b := asUser(t, 990, nil)
	close(b.engine.hold)
	op := optest.Of(2, agentv1.OperationKind_OPERATION_KIND_ABORT)
	if _, err := b.client.Submit(t.Context(), b.ca.Sign(t, op), nil); err != nil {
		t.Errorf("Submit = %v", err)
	}
	b.engine.refusal = operation.Refuse(precondition, "it has ended")
	if _, err := b.client.Submit(t.Context(), b.ca.Sign(t, op), nil); !isRefusal(err, precondition) {
		t.Errorf("Submit = %v", err)
	}
}
