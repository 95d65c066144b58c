package rollout

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"hybridagent/plane/fleet"
	"hybridagent/plane/kind"
	"hybridagent/plane/store"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// switching is a record whose live network switch is pending.
func switching() *record {
	r := pending()
	r.Pending.Switch = &switchOrder{VPNServers: []string{"10.200.0.3"}, Former: []string{"10.200.0.2"}, AnswerBy: now().Add(answerWithin)}
	r.Pending.NodeDigest, r.Pending.NodeIP = "", ""
	return r
}

func unanswered() *record {
	r := switching()
	next, _ := giveUp(*r, readyView(), true, now().Add(answerWithin))
	return &next
}

func TestDecideSwitch(t *testing.T) {
	lastFailed := ended(agentv1.OperationState_OPERATION_STATE_FAILED)
	lastFailed.LastSwitch = unanswered().LastSwitch
	afterSwitch := &record{LastSwitch: unanswered().LastSwitch}
	for name, c := range map[string]struct {
		record *record
		change func(*fleet.View)
		want   action
	}{
		"sent":                             {switching(), func(*fleet.View) {}, actNothing},
		"new stream":                       {switching(), func(v *fleet.View) { v.Stream = 4 }, actSend},
		"no stream":                        {switching(), func(v *fleet.View) { v.Stream = 0 }, actNothing},
		"enrolled anew":                    {switching(), func(v *fleet.View) { v.Stream, v.EnrolledAt = 4, 2 }, actNothing},
		"node, new stream":                 {switching(), func(v *fleet.View) { v.Stream, v.Status.AppliedNodeDigest = 4, "d0" }, actSend},
		"another node part, new stream":    {switching(), func(v *fleet.View) { v.Stream, v.Assignment.NodeDigest = 4, "d2" }, actSend},
		"another node IP":                  {switching(), func(v *fleet.View) { v.Status.NodeIp = "10.200.0.12" }, actNothing},
		"first provisioning after it":      {afterSwitch, func(*fleet.View) {}, actSign},
		"failed provisioning, then switch": {lastFailed, func(*fleet.View) {}, actNothing},
	} {
		v := readyView()
		c.change(&v)
		if got := decide(c.record, v); got != c.want {
			t.Errorf("%s: action %d, want %d", name, got, c.want)
		}
	}
}

func TestSettleSwitch(t *testing.T) {
	const (
		run  = agentv1.OperationState_OPERATION_STATE_RUNNING
		done = agentv1.OperationState_OPERATION_STATE_SUCCEEDED
		bad  = agentv1.OperationState_OPERATION_STATE_FAILED
		no   = agentv1.OperationState_OPERATION_STATE_REFUSED
	)
	says := func(state agentv1.OperationState) func(*fleet.View) {
		return func(v *fleet.View) { v.NetworkSwitch = progress("op", state) }
	}
	refusal := &agentv1.Condition{Type: "OperationRunning", Status: agentv1.ConditionStatus_CONDITION_STATUS_FALSE, Reason: "Refused", Message: "no pinned key"}
	newer := unanswered()
	newer.Pending = switching().Pending
	newer.Pending.ID = "newer"
	for name, c := range map[string]struct {
		record *record
		change func(*fleet.View)
		after  time.Duration
		gone   bool
		want   agentv1.OperationState
		words  string
	}{
		"no word":                        {record: switching(), want: 0},
		"runs":                           {record: switching(), change: says(run), want: 0},
		"succeeded":                      {record: switching(), change: says(done), want: done},
		"went back":                      {record: switching(), change: says(bad), want: bad},
		"refused":                        {record: switching(), change: says(no), want: no},
		"told as another kind":           {record: switching(), change: func(v *fleet.View) { v.Operation = progress("op", no) }, want: no},
		"another one ended":              {record: switching(), change: func(v *fleet.View) { v.NetworkSwitch = progress("former", done) }, want: 0},
		"silent, not long":               {record: switching(), after: answerWithin - time.Second, want: 0},
		"silent":                         {record: switching(), after: answerWithin, want: bad, words: "has not told the end within 10m0s"},
		"runs for ever":                  {record: switching(), change: says(run), after: answerWithin, want: bad, words: "has not told the end"},
		"succeeded at the last moment":   {record: switching(), change: says(done), after: time.Hour, want: done},
		"silent, and cannot name it":     {record: switching(), change: func(v *fleet.View) { v.Status.Conditions = []*agentv1.Condition{refusal} }, after: answerWithin, want: bad, words: "; it reports: no pinned key"},
		"removed":                        {record: switching(), change: func(v *fleet.View) { *v = fleet.View{} }, gone: true, want: bad, words: "was removed"},
		"enrolled anew":                  {record: switching(), change: func(v *fleet.View) { v.EnrolledAt = 2 }, want: bad, words: "enrolled anew"},
		"not seen since the plane began": {record: switching(), change: func(v *fleet.View) { v.Stream, v.EnrolledAt = 0, 0 }, want: 0},
		"late success":                   {record: unanswered(), change: says(done), want: done},
		"late failure":                   {record: unanswered(), change: says(bad), want: 0},
		"late success, a newer runs":     {record: newer, change: says(done), want: 0},
		"provisioning, silent":           {record: pending(), after: time.Hour, want: 0},
		"provisioning, removed":          {record: pending(), gone: true, want: 0},
	} {
		v := readyView()
		if c.change != nil {
			c.change(&v)
		}
		r, ended := settle(*c.record, v, !c.gone, now().Add(c.after))
		switch {
		case c.want == 0 && ended != nil, c.want != 0 && ended == nil:
			t.Errorf("%s: ended with %+v, want %v", name, ended, c.want)
		case ended == nil:
		case ended.State != c.want || r.LastSwitch != ended || r.Pending != nil || r.Last != nil || !strings.Contains(ended.Message, c.words) || ended.EndedAt.IsZero():
			t.Errorf("%s: ended with %+v, want %v %q", name, ended, c.want, c.words)
		}
		if _, again := settle(r, v, !c.gone, now().Add(c.after)); again != nil {
			t.Errorf("%s: ended twice", name)
		}
	}
}

func TestRefuseSwitch(t *testing.T) {
	for name, c := range map[string]struct {
		record *record
		change func(*fleet.View)
		want   string
	}{
		"free":                          {&record{}, func(*fleet.View) {}, ""},
		"offline":                       {&record{}, func(v *fleet.View) { v.Stream, v.Since = 0, now() }, "it is not connected since 2001-09-09T01:46:40Z"},
		"another switch":                {switching(), func(*fleet.View) {}, "an operation is under way: live network switch op"},
		"another switch, offline":       {switching(), func(v *fleet.View) { v.Stream = 0 }, "an operation is under way: live network switch op"},
		"provisioning":                  {pending(), func(*fleet.View) {}, "an operation is under way: provision op"},
		"provisioning runs, not wanted": {pending(), func(v *fleet.View) { v.Assignment.NodeDigest, v.Operation = "d2", progress("op", 2) }, "an operation is under way: provision op"},
		"provisioning that is not wanted and has not begun": {pending(), func(v *fleet.View) { v.Assignment.NodeDigest = "d2" }, ""},
		"failed provisioning":                               {ended(agentv1.OperationState_OPERATION_STATE_FAILED), func(*fleet.View) {}, ""},
	} {
		v := readyView()
		c.change(&v)
		err := refuseSwitch(*c.record, v)
		if got := errText(err); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// oneHost is a fleet of one host, whose view a test sets.
type oneHost struct {
	mu      sync.Mutex
	view    fleet.View
	changed chan string
}

func (h *oneHost) NextChanged(ctx context.Context) (string, bool) {
	select {
	case id := <-h.changed:
		return id, true
	case <-ctx.Done():
		return "", false
	}
}

func (h *oneHost) Changed(id string) {
	select {
	case h.changed <- id:
	default:
	}
}

func (h *oneHost) View(string) (fleet.View, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.view, true
}

func (h *oneHost) Pool(string) (fleet.PoolView, bool) { return fleet.PoolView{}, false }

func (h *oneHost) SendOperation(string, uint64, *agentv1.SignedOperation) bool { return true }

func newStore(t *testing.T) *store.Store {
	t.Helper()
	st, err := store.Open(t.Context(), store.Options{Dir: t.TempDir(), UnsafeNoFsync: true, Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st
}

// put writes a pool with the host, as an operator's apply does.
func put(t *testing.T, st *store.Store, labels map[string]string, servers ...string) {
	t.Helper()
	write, err := st.EncodeResource(&planev1.Resource{Kind: kind.Pool, Metadata: &planev1.Metadata{Name: "shop-1"}, Spec: &planev1.Resource_NodePool{
		NodePool: &planev1.NodePoolSpec{Labels: labels, Hosts: []*planev1.PoolHost{{HostId: "edge-1", VpnServers: servers}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Commit(t.Context(), nil, []store.Write{write, store.CatalogWrite(now())}); err != nil {
		t.Fatal(err)
	}
}

// stored is what a plane finds that was killed after the host had told its
// success and before that was committed.
func stored(t *testing.T) (*store.Store, *oneHost) {
	t.Helper()
	st := newStore(t)
	put(t, st, nil, "10.200.0.2")
	r := switching()
	r.Pending.Envelope, r.Epoch, r.Counter = []byte("envelope"), 1, 4
	write, err := r.write(st, "edge-1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Commit(t.Context(), nil, []store.Write{write}); err != nil {
		t.Fatal(err)
	}
	v := fleet.View{HostID: "edge-1", NetworkSwitch: progress("op", agentv1.OperationState_OPERATION_STATE_SUCCEEDED)}
	return st, &oneHost{view: v, changed: make(chan string, 1)}
}

func wantClosed(t *testing.T, st *store.Store, c *Controller, labels map[string]string) {
	t.Helper()
	pool, err := st.GetResource(t.Context(), kind.Pool, "shop-1")
	if err != nil {
		t.Fatal(err)
	}
	if h := pool.GetNodePool().GetHosts()[0]; !slices.Equal(h.GetVpnServers(), []string{"10.200.0.3"}) || len(pool.GetNodePool().GetLabels()) != len(labels) {
		t.Errorf("the pool is %v", pool)
	}
	e, err := st.Get(t.Context(), recordPrefix+"edge-1")
	if err != nil {
		t.Fatal(err)
	}
	r, err := decodeRecord(st, e)
	if err != nil || r.Pending != nil || r.LastSwitch.State != agentv1.OperationState_OPERATION_STATE_SUCCEEDED || r.Counter != 4 {
		t.Errorf("the record is %+v, %v", r, err)
	}
	if e.Revision != pool.GetMetadata().GetRevision() {
		t.Errorf("record and pool were written at %d and %d, want one commit", e.Revision, pool.GetMetadata().GetRevision())
	}
	if s := c.NetworkSwitch("edge-1"); !proto.Equal(s, c.Operation("edge-1", "op")) || s.GetProgress().GetState() != r.LastSwitch.State {
		t.Errorf("operators see %v", s)
	}
}

// TestCrashBeforeThePoolIsWritten: the plane finds the success in what the host
// had reported, without another word of the host.
func TestCrashBeforeThePoolIsWritten(t *testing.T) {
	st, host := stored(t)
	c, err := New(t.Context(), Config{Store: st, Hosts: host, Now: now, Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for s := c.NetworkSwitch("edge-1"); s.GetProgress().GetState() != agentv1.OperationState_OPERATION_STATE_SUCCEEDED; s = c.NetworkSwitch("edge-1") {
		select {
		case <-deadline:
			t.Fatalf("not concluded: %v", s)
		case <-tick.C:
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	wantClosed(t, st, c, nil)
}

// TestPoolIsEditedUnderTheCommit: an operator writes after the plane has read the
// pool and before it commits. The clock, read in between, is where that is done.
func TestPoolIsEditedUnderTheCommit(t *testing.T) {
	st, host := stored(t)
	labels, edits := map[string]string{"new": "yes"}, 0
	c, err := New(t.Context(), Config{Store: st, Hosts: host, Log: zap.NewNop(), Now: func() time.Time {
		edits++
		if edits == 2 || edits == 3 { // the first reading is for settle
			put(t, st, labels, "10.200.0.2")
		}
		return now()
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.look(t.Context(), "edge-1"); err != nil {
		t.Fatal(err)
	}
	if edits < 4 {
		t.Fatalf("the clock was read %d times: nothing was edited under the commit", edits)
	}
	wantClosed(t, st, c, labels)
}

// TestRecordIsWrittenByAnother: its content is taken, and nothing of ours is left
// in the pool.
func TestRecordIsWrittenByAnother(t *testing.T) {
	st, host := stored(t)
	c, err := New(t.Context(), Config{Store: st, Hosts: host, Now: now, Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	theirs := switching()
	theirs.Pending.Envelope, theirs.Pending.ID, theirs.Epoch, theirs.Counter = []byte("envelope"), "theirs", 1, 5
	write, err := theirs.write(st, "edge-1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Commit(t.Context(), nil, []store.Write{write}); err != nil {
		t.Fatal(err)
	}
	if err := c.look(t.Context(), "edge-1"); err == nil {
		t.Error("the conflict was not told")
	}
	if r := c.peek("edge-1"); r.Pending == nil || r.Pending.ID != "theirs" {
		t.Errorf("the record is %+v", r)
	}
	pool, err := st.GetResource(t.Context(), kind.Pool, "shop-1")
	if err != nil || pool.GetNodePool().GetHosts()[0].GetVpnServers()[0] != "10.200.0.2" {
		t.Errorf("the pool is %v, %v", pool, err)
	}
}
