package drain_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"hybridagent/nodeadm/drain"
)

func drawPod(rt *rapid.T, i int) *pod {
	p := managed(fmt.Sprintf("p%d", i))
	p.owner = rapid.SampledFrom([]string{"ReplicaSet", "DaemonSet", "Job", ""}).Draw(rt, "owner")
	p.phase = rapid.SampledFrom([]string{"Running", "Pending", "Succeeded", "Failed"}).Draw(rt, "phase")
	p.mirror = rapid.IntRange(0, 9).Draw(rt, "mirror") == 0
	p.emptyDir = rapid.Bool().Draw(rt, "emptyDir")
	p.app = rapid.SampledFrom([]string{"", "web", "db"}).Draw(rt, "app")
	p.ends = rapid.SampledFrom([]time.Duration{0, time.Second, 10 * time.Second, time.Hour, -1}).Draw(rt, "ends")
	p.ending = rapid.SampledFrom([]time.Duration{0, 0, 0, time.Second, time.Hour}).Draw(rt, "ending")
	p.returns = rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(rt, "returns")
	p.answer = rapid.SampledFrom([]int{0, 0, 0, 0, 0, 0, 403, 500, 409}).Draw(rt, "answer")
	return p
}

func drawCluster(rt *rapid.T) *cluster {
	c := &cluster{modern: rapid.Bool().Draw(rt, "modern"), page: rapid.IntRange(0, 3).Draw(rt, "page"), down: rapid.SampledFrom([]int{0, 0, 3, 1 << 20}).Draw(rt, "down")}
	for i := range rapid.IntRange(0, 8).Draw(rt, "pods") {
		c.pods = append(c.pods, drawPod(rt, i))
	}
	for i := range rapid.IntRange(0, 3).Draw(rt, "budgets") {
		c.budgets = append(c.budgets, budget{fmt.Sprintf("pdb%d", i), rapid.SampledFrom([]string{"web", "db"}).Draw(rt, "of"),
			rapid.IntRange(0, 2).Draw(rt, "allowed"), rapid.SampledFrom([]time.Duration{0, 7 * time.Second, time.Hour}).Draw(rt, "opens")})
	}
	return c
}

func drawOptions(rt *rapid.T) drain.Options {
	flag := func(name string) bool { return rapid.Bool().Draw(rt, name) }
	return drain.Options{
		Timeout:     rapid.SampledFrom([]time.Duration{5 * time.Second, time.Minute, 10 * time.Minute}).Draw(rt, "timeout"),
		GracePeriod: rapid.Int64Range(-1, 60).Draw(rt, "grace"), IgnoreDaemonSets: flag("ignoreDaemonSets"),
		DeleteLocalData: flag("deleteLocalData"), Force: flag("force"), DisableEviction: flag("disableEviction"),
		SkipWaitForDeleteTimeout: rapid.SampledFrom([]time.Duration{0, 20 * time.Second}).Draw(rt, "skip"),
	}
}

// TestRunKeepsItsWord draws nodes and options. A drain touches no pod that it may
// not, is over in time, and says success exactly when the node is empty but for
// what the options leave there.
func TestRunKeepsItsWord(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		double, o := drawCluster(rt), drawOptions(rt)
		before := map[string]pod{}
		for _, p := range double.pods {
			before[p.name] = *p
		}
		var faults []string
		synctest.Test(t, func(t *testing.T) { faults = keepsItsWord(t, double, o, before) })
		if len(faults) > 0 {
			rt.Fatalf("with %+v:\n%s", o, strings.Join(faults, "\n"))
		}
	})
}

func keepsItsWord(t *testing.T, double *cluster, o drain.Options, before map[string]pod) (faults []string) {
	fault := func(form string, args ...any) { faults = append(faults, fmt.Sprintf(form, args...)) }
	client := double.client()
	begin := time.Now()
	err := drain.Run(t.Context(), client, "edge-1", o, nil)
	if took := time.Since(begin); took > o.Timeout+2*time.Second {
		fault("it took %v", took)
	}
	for _, request := range double.requests {
		name := strings.Fields(request)[1]
		if why := mayNotTouch(before[name], o); why != "" {
			fault("%q although %s", request, why)
		}
		if o.DisableEviction && strings.HasPrefix(request, "evict") || !o.DisableEviction && strings.HasPrefix(request, "delete") && before[name].phase != "Succeeded" && before[name].phase != "Failed" {
			fault("%q against disableEviction", request)
		}
		if !strings.Contains(request, " uid=uid-"+name) || strings.Contains(request, "grace=own") != (o.GracePeriod < 0) {
			fault("%q has not its UID or grace period", request)
		}
	}
	var blocked *drain.Blocked
	if errors.As(err, &blocked) && !blocked.Begun && len(double.requests) > 0 {
		fault("says that nothing was changed after %q", double.requests)
	}
	if err != nil && !errors.As(err, &blocked) && double.down == 0 {
		fault("the error is no Blocked: %v", err)
	}
	var stay []string
	double.mutex.Lock()
	double.settle()
	for _, p := range double.pods {
		skipped := o.SkipWaitForDeleteTimeout > 0 && !p.deleted.IsZero() && time.Since(p.deleted) > o.SkipWaitForDeleteTimeout
		if !p.mirror && !skipped && !(p.owner == "DaemonSet" && o.IgnoreDaemonSets) {
			stay = append(stay, p.name)
		}
	}
	double.mutex.Unlock()
	if err == nil && len(stay) > 0 {
		fault("success with %v left", stay)
	}
	if err != nil && len(stay) == 0 && double.down == 0 {
		fault("failure with nothing left: %v", err)
	}
	if blocked != nil {
		for _, stuck := range blocked.Pods {
			if !slices.Contains(stay, stuck.Pod.Name) {
				fault("%s is named and not there", stuck)
			}
		}
	}
	return faults
}

// mayNotTouch says why a pod must be left alone, however the drain ends.
func mayNotTouch(p pod, o drain.Options) string {
	ended := p.phase == "Succeeded" || p.phase == "Failed"
	switch {
	case p.mirror:
		return "it mirrors a static pod"
	case p.owner == "DaemonSet":
		return "it belongs to a DaemonSet"
	case p.ending > 0 && p.returns == 0:
		return "it was ending"
	case p.emptyDir && !o.DeleteLocalData && !ended:
		return "it has local data"
	case p.owner == "" && !o.Force && !ended:
		return "it has no controller"
	}
	return ""
}
