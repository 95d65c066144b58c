package drain_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"hybridagent/nodeadm/drain"
	"hybridagent/nodeadm/nodeapi"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

func TestFromProto(t *testing.T) {
	t.Parallel()
	defaults := drain.Options{Cordon: true, Timeout: time.Minute, GracePeriod: 60, IgnoreDaemonSets: true, DeleteLocalData: true, Force: true, SkipWaitForDeleteTimeout: time.Minute}
	if got := drain.FromProto(nil); got != defaults {
		t.Errorf("the defaults are %+v", got)
	}
	if got := drain.FromProto(&agentv1.DrainOptions{}); got != (drain.Options{}) {
		t.Errorf("a message without values is %+v", got)
	}
	all := &agentv1.DrainOptions{Cordon: true, Timeout: durationpb.New(2 * time.Minute), GracePeriodSeconds: -1, IgnoreDaemonSets: true,
		DeleteLocalData: true, Force: true, DisableEviction: true, SkipWaitForDeleteTimeout: durationpb.New(3 * time.Minute)}
	want := drain.Options{Cordon: true, Timeout: 2 * time.Minute, GracePeriod: -1, IgnoreDaemonSets: true, DeleteLocalData: true, Force: true, DisableEviction: true, SkipWaitForDeleteTimeout: 3 * time.Minute}
	if got := drain.FromProto(all); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func names(pods []nodeapi.Pod) string {
	var all []string
	for _, p := range pods {
		all = append(all, p.Name)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestCheck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		double := &cluster{
			budgets: []budget{{"web-pdb", "web", 0, 0}},
			pods: []*pod{
				managed("a"), with(managed("web"), func(p *pod) { p.app = "web" }),
				with(managed("done"), func(p *pod) { p.phase = "Succeeded" }),
				with(managed("cni"), func(p *pod) { p.owner = "DaemonSet" }),
				with(managed("etcd"), func(p *pod) { p.mirror = true }),
				with(managed("db"), func(p *pod) { p.emptyDir = true }),
				with(managed("tool"), func(p *pod) { p.owner = "" }),
				with(managed("ending"), func(p *pod) { p.ending = time.Hour }),
				with(managed("mine"), func(p *pod) { p.answer = 403 }),
			},
		}
		client := double.client()
		double.pods = append(double.pods, with(managed("old"), func(p *pod) { p.deleted = time.Now().Add(-2 * time.Minute) }))
		o := options()
		o.Force, o.DeleteLocalData = false, false
		report, err := drain.Check(t.Context(), client, "edge-1", o)
		if err != nil {
			t.Fatal(err)
		}
		var blocking []string
		for _, stuck := range report.Blocking {
			blocking = append(blocking, stuck.Pod.Name+" "+string(stuck.Why))
		}
		slices.Sort(blocking)
		for _, c := range []struct{ what, got, want string }{
			{"going", names(report.Going), "a mine web"}, {"finished", names(report.Finished), "done"}, {"ending", names(report.Ending), "ending"},
			{"skipped", names(report.Skipped), "old"}, {"static", names(report.Static), "etcd"}, {"of DaemonSets", names(report.DaemonSets), "cni"},
			{"blocking", strings.Join(blocking, ", "), "db local-data, mine forbidden, tool unmanaged, web budget"},
		} {
			if c.got != c.want {
				t.Errorf("%s: %q, want %q", c.what, c.got, c.want)
			}
		}
		if len(double.requests) != 0 {
			t.Errorf("a check asked for %q", double.requests)
		}
		var blocked *drain.Blocked
		if err := report.Err("edge-1"); !errors.As(err, &blocked) || blocked.Begun || blocked.Total != 7 || !slices.Equal(blocked.Budgets(), []string{"shop/web-pdb"}) {
			t.Errorf("its error is %v", err)
		}
	})
}

func TestCheckWithNothingInTheWay(t *testing.T) {
	t.Parallel()
	double := &cluster{budgets: []budget{{"web-pdb", "web", 0, 0}}, pods: []*pod{with(managed("web"), func(p *pod) { p.app = "web" })}}
	o := options()
	o.DisableEviction = true
	report, err := drain.Check(t.Context(), double.client(), "edge-1", o)
	if err != nil || report.Err("edge-1") != nil || double.pods[0].dryRuns != 1 || !double.pods[0].deleted.IsZero() {
		t.Errorf("deleting past a budget: %+v, %v", report, err)
	}
	double.down = 100
	if _, err := drain.Check(t.Context(), double.client(), "edge-1", o); err == nil {
		t.Error("a check without a list is taken")
	}
}
