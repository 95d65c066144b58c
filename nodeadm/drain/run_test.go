package drain_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hybridagent/nodeadm/drain"
)

// managed is a running pod with a controller.
func managed(name string) *pod {
	return &pod{name: name, uid: "uid-" + name, phase: "Running", owner: "ReplicaSet", ends: time.Second}
}

func with(p *pod, change func(*pod)) *pod { change(p); return p }

func TestRun(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		pods    []*pod
		budgets []budget
		options func(*drain.Options)
		modern  bool
		page    int
		down    int
		left    string   // names that stay
		err     []string // parts of the error; none: success
		begun   bool
		request []string // how requests must begin
		within  time.Duration
	}{
		{name: "nothing there"},
		{name: "one pod", pods: []*pod{managed("a")}, request: []string{"evict a grace=60 uid=uid-a"}, within: 3 * time.Second},
		{name: "the pod's own grace", pods: []*pod{managed("a")}, options: func(o *drain.Options) { o.GracePeriod = -1 }, request: []string{"evict a grace=own"}},
		{name: "no grace", pods: []*pod{managed("a")}, options: func(o *drain.Options) { o.GracePeriod = 0 }, request: []string{"evict a grace=0"}},
		{name: "pages", pods: []*pod{managed("a"), managed("b"), managed("c")}, page: 1},
		{name: "a finished pod is deleted", pods: []*pod{
			with(managed("done"), func(p *pod) { p.phase, p.owner, p.emptyDir = "Succeeded", "", true }),
			with(managed("lost"), func(p *pod) { p.phase = "Failed" }),
		}, options: func(o *drain.Options) { o.Force, o.DeleteLocalData = false, false }, request: []string{"delete done", "delete lost"}},
		{name: "static pods stay", pods: []*pod{with(managed("etcd"), func(p *pod) { p.mirror, p.owner = true, "Node" })},
			options: func(o *drain.Options) { o.Force = false }, left: "etcd", request: []string{}},
		{name: "pods of DaemonSets stay", pods: []*pod{with(managed("cni"), func(p *pod) { p.owner, p.emptyDir = "DaemonSet", true })},
			options: func(o *drain.Options) { o.DeleteLocalData = false }, left: "cni", request: []string{}},
		{name: "pods of DaemonSets refuse", pods: []*pod{managed("a"), with(managed("cni"), func(p *pod) { p.owner = "DaemonSet" })},
			options: func(o *drain.Options) { o.IgnoreDaemonSets = false }, left: "a cni", request: []string{},
			err: []string{"1 of 2 pods may not be removed, and nothing was", "shop/cni (belongs to a DaemonSet)", "set ignoreDaemonSets to true"}},
		{name: "local data refuses", pods: []*pod{managed("a"), with(managed("db"), func(p *pod) { p.emptyDir = true })},
			options: func(o *drain.Options) { o.DeleteLocalData = false }, left: "a db", request: []string{},
			err: []string{"shop/db (uses emptyDir volumes", "set deleteLocalData to true"}},
		{name: "local data goes", pods: []*pod{with(managed("db"), func(p *pod) { p.emptyDir = true })}},
		{name: "no controller refuses", pods: []*pod{with(managed("tool"), func(p *pod) { p.owner = "" })},
			options: func(o *drain.Options) { o.Force = false }, left: "tool", request: []string{},
			err: []string{"shop/tool (has no controller", "set force to true"}},
		{name: "no controller goes", pods: []*pod{with(managed("tool"), func(p *pod) { p.owner = "" })}},
		{name: "a budget that opens later", pods: []*pod{with(managed("web"), func(p *pod) { p.app = "web" })},
			budgets: []budget{{"web", "web", 1, 6 * time.Second}}, within: 15 * time.Second},
		{name: "a budget that lets one go at a time", pods: []*pod{
			with(managed("w1"), func(p *pod) { p.app = "web" }), with(managed("w2"), func(p *pod) { p.app = "web" }), with(managed("w3"), func(p *pod) { p.app = "web" }),
		}, budgets: []budget{{"web", "web", 1, 0}}, within: 20 * time.Second},
		{name: "a budget that never opens", pods: []*pod{managed("a"), with(managed("web"), func(p *pod) { p.app = "web" })},
			budgets: []budget{{"web-pdb", "web", 0, 0}}, left: "web", begun: true,
			err: []string{"within 1m0s: 1 of 2 pods are left", "shop/web (PodDisruptionBudget web-pdb: ", "needs 2 healthy pods and has 2", "disableEviction"}},
		{name: "two budgets", pods: []*pod{with(managed("web"), func(p *pod) { p.app = "web" })},
			budgets: []budget{{"p1", "web", 1, 0}, {"p2", "web", 1, 0}}, left: "web", begun: true,
			err: []string{"more than one PodDisruptionBudget"}},
		{name: "budgets are not asked", pods: []*pod{with(managed("web"), func(p *pod) { p.app = "web" })},
			budgets: []budget{{"web", "web", 0, 0}}, options: func(o *drain.Options) { o.DisableEviction = true }, request: []string{"delete web grace=60 uid=uid-web"}},
		{name: "a pod that does not end", pods: []*pod{with(managed("a"), func(p *pod) { p.ends = -1 })},
			options: func(o *drain.Options) { o.SkipWaitForDeleteTimeout = 0 }, left: "a", begun: true,
			err: []string{"shop/a (was asked to go and has not ended)", "kubectl describe pod"}},
		{name: "a pod that is not waited for", pods: []*pod{with(managed("a"), func(p *pod) { p.ends = -1 })},
			options: func(o *drain.Options) { o.SkipWaitForDeleteTimeout = 20 * time.Second }, left: "a", within: 25 * time.Second},
		{name: "a pod that was ending is not asked again", pods: []*pod{with(managed("a"), func(p *pod) { p.owner, p.ending = "", 5*time.Second })}, options: func(o *drain.Options) { o.Force = false }, request: []string{}, within: 10 * time.Second},
		{name: "a pod that comes back", pods: []*pod{with(managed("a"), func(p *pod) { p.returns = 3 })}, request: []string{
			"evict a grace=60 uid=uid-a", "evict a grace=60 uid=uid-a-1", "evict a grace=60 uid=uid-a-1-2", "evict a grace=60 uid=uid-a-1-2-3"}},
		{name: "a pod that comes back for ever", pods: []*pod{with(managed("a"), func(p *pod) { p.returns, p.ends = 1<<20, 0 })}, left: "a", begun: true, err: []string{"pods are left"}},
		{name: "gone pods are forbidden", modern: true, pods: []*pod{with(managed("a"), func(p *pod) { p.ends = 0 }), managed("b")}},
		{name: "forbidden for good", pods: []*pod{with(managed("a"), func(p *pod) { p.answer = 403 })}, left: "a", begun: true,
			err: []string{"shop/a (no)", "admission policy"}, within: 10 * time.Second},
		{name: "the API server is down for a while", pods: []*pod{managed("a")}, down: 5},
		{name: "the API server stays down", pods: []*pod{managed("a")}, down: 1 << 20, left: "a", err: []string{"cannot drain Node edge-1 within 1m0s", "etcd has no leader"}},
		{name: "requests that fail otherwise", pods: []*pod{with(managed("a"), func(p *pod) { p.answer = 500 })}, left: "a", begun: true, err: []string{"shop/a (no)", "try again"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				double := &cluster{pods: c.pods, budgets: c.budgets, modern: c.modern, page: c.page, down: c.down}
				o := options()
				if c.options != nil {
					c.options(&o)
				}
				begin := time.Now()
				err := drain.Run(t.Context(), double.client(), "edge-1", o, nil)
				took := time.Since(begin)
				if c.within == 0 {
					c.within = o.Timeout + 2*time.Second
				}
				if took > c.within {
					t.Errorf("it took %v, more than %v", took, c.within)
				}
				if (err == nil) != (len(c.err) == 0) {
					t.Fatalf("the error is %v", err)
				}
				for _, part := range c.err {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("%q does not say %q", err, part)
					}
				}
				var blocked *drain.Blocked
				if errors.As(err, &blocked) && blocked.Begun != c.begun {
					t.Errorf("begun is %v", blocked.Begun)
				}
				if left := strings.Join(double.left(), " "); left != c.left {
					t.Errorf("left are %q, want %q", left, c.left)
				}
				if c.request != nil && !sameRequests(double.requests, c.request) {
					t.Errorf("requests %q, want %q", double.requests, c.request)
				}
			})
		})
	}
}

// sameRequests matches requests with their beginnings, in any order.
func sameRequests(got, want []string) bool {
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	return slices.EqualFunc(got, want, strings.HasPrefix)
}

func TestRunTells(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		double := &cluster{budgets: []budget{{"web-pdb", "web", 1, 4 * time.Second}}}
		for i := range 12 {
			double.pods = append(double.pods, managed(fmt.Sprintf("p%02d", i)))
		}
		double.pods = append(double.pods, with(managed("web"), func(p *pod) { p.app = "web" }), with(managed("cni"), func(p *pod) { p.owner = "DaemonSet" }))
		var said []string
		if err := drain.Run(t.Context(), double.client(), "edge-1", options(), func(line string) { said = append(said, line) }); err != nil {
			t.Fatal(err)
		}
		all := strings.Join(said, "\n")
		for _, part := range []string{"13 of 13 pods left: shop/p00, ", ", and 3 more", "1 of 13 pods left: shop/web (PodDisruptionBudget web-pdb)", "all 13 pods are gone, 1 of DaemonSets stay"} {
			if !strings.Contains(all, part) {
				t.Errorf("said\n%s\nwithout %q", all, part)
			}
		}
		if len(slices.Compact(slices.Clone(said))) != len(said) {
			t.Errorf("said something twice in a row:\n%s", all)
		}
	})
}

func TestRunIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		double := &cluster{pods: []*pod{with(managed("a"), func(p *pod) { p.ends = -1 })}}
		o := options()
		o.Timeout = 0
		why := errors.New("an operator aborted")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(5*time.Second, func() { cancel(why) })
		err := drain.Run(ctx, double.client(), "edge-1", o, nil)
		var blocked *drain.Blocked
		if !errors.Is(err, why) || errors.As(err, &blocked) {
			t.Errorf("the error is %v", err)
		}
		ctx, cancelTimeout := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancelTimeout()
		if err := drain.Run(ctx, double.client(), "edge-1", o, nil); !errors.As(err, &blocked) || len(blocked.Pods) != 1 {
			t.Errorf("without a timeout of its own: %v", err)
		}
	})
}

// TestRunLooksOnceMore ends a pod between the last list in time and the end.
func TestRunLooksOnceMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		double := &cluster{pods: []*pod{with(managed("a"), func(p *pod) { p.ends = time.Minute })}}
		if err := drain.Run(t.Context(), double.client(), "edge-1", options(), nil); err != nil {
			t.Error(err)
		}
	})
}

// TestPodsThatVanishAreForbidden is what servers from 1.32 answer for a pod that
// is gone.
func TestPodsThatVanishAreForbidden(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		double := &cluster{modern: true, vanishing: "a", pods: []*pod{managed("a"), managed("b")}}
		if err := drain.Run(t.Context(), double.client(), "edge-1", options(), nil); err != nil {
			t.Errorf("a drain: %v", err)
		}
		double = &cluster{modern: true, vanishing: "a", pods: []*pod{managed("a"), managed("b")}}
		if report, err := drain.Check(t.Context(), double.client(), "edge-1", options()); err != nil || len(report.Blocking) > 0 {
			t.Errorf("a check: %v, %+v", err, report.Blocking)
		}
	})
}

// TestWaitingIsNoLoad bounds what a drain asks while a budget is closed.
func TestWaitingIsNoLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		double := &cluster{budgets: []budget{{"web-pdb", "web", 0, 0}}, pods: []*pod{with(managed("web"), func(p *pod) { p.app = "web" })}}
		o := options()
		o.Timeout = 10 * time.Minute
		if err := drain.Run(t.Context(), double.client(), "edge-1", o, nil); err == nil {
			t.Fatal("a closed budget is passed")
		}
		if double.lists > 450 || double.pods[0].denied > 180 || double.pods[0].denied < 90 {
			t.Errorf("%d lists and %d evictions in ten minutes", double.lists, double.pods[0].denied)
		}
	})
}

// TestBudgetsAreTriedSoonAfterProgress has a budget that lets one of two pods go
// at a time, and a first pod that takes long: by then the other is tried seldom,
// but it need not wait for that. The jitter differs each time.
func TestBudgetsAreTriedSoonAfterProgress(t *testing.T) {
	t.Parallel()
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			slow := func(p *pod) { p.app, p.ends = "web", 20*time.Second }
			double := &cluster{budgets: []budget{{"web-pdb", "web", 1, 0}}, pods: []*pod{with(managed("a"), slow), with(managed("b"), slow)}}
			begin := time.Now()
			if err := drain.Run(t.Context(), double.client(), "edge-1", options(), nil); err != nil {
				t.Fatal(err)
			}
			// A list notices each end, 2.5 s later at most; the other's turn comes within
			// another second.
			if took := time.Since(begin); took > 40*time.Second+2*2500*time.Millisecond+time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}
