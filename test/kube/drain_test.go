//go:build kube

package kube_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"hybridagent/nodeadm/drain"
	"hybridagent/nodeadm/nodeapi"
	"hybridagent/test/kube"
)

// wants checks an error's text and that it is a *drain.Blocked.
func (s *site) wants(err error, begun bool, parts ...string) {
	s.Helper()
	var blocked *drain.Blocked
	if !errors.As(err, &blocked) || blocked.Begun != begun {
		s.Fatalf("the error is %v", err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			s.Errorf("%q does not say %q", err, part)
		}
	}
}

// there checks which pods are left; each is "name" or "-name" for one that is gone.
func (s *site) there(names ...string) {
	s.Helper()
	for _, name := range names {
		want := "200"
		if bare, gone := strings.CutPrefix(name, "-"); gone {
			name, want = bare, "404"
		}
		if got := s.get(s.podAt(name)); got != want {
			s.Errorf("pod %s: %s, want %s", name, got, want)
		}
	}
}

func drains(s *site) {
	s.kubelet()
	s.add("web", pod{})
	s.add("local", pod{emptyDir: true})
	s.add("bare", pod{owner: "none"})
	s.add("pending", pod{phase: "Pending"})
	s.add("done", pod{owner: "none", phase: "Succeeded", emptyDir: true})
	s.add("failed", pod{phase: "Failed"})
	s.add("cni", pod{owner: "DaemonSet", emptyDir: true})
	s.mirror("etcd")
	s.add("ending", pod{})
	s.must(s.admin.Delete(s.Context(), s.podAt("ending"), map[string]any{"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 5}))
	said, err := s.drain(nil)
	if err != nil {
		s.Fatal(err)
	}
	s.there("-web", "-local", "-bare", "-pending", "-done", "-failed", "-ending", "cni", "etcd")
	if !strings.Contains(said, ", 1 static stay, 1 of DaemonSets stay") {
		s.Errorf("it said %q", said)
	}
}

func refuses(s *site) {
	s.kubelet()
	s.add("web", pod{})
	for _, c := range []struct {
		name, says string
		pod        pod
		change     func(*drain.Options)
	}{
		{"local", "uses emptyDir", pod{emptyDir: true}, func(o *drain.Options) { o.DeleteLocalData = false }},
		{"bare", "has no controller", pod{owner: "none"}, func(o *drain.Options) { o.Force = false }},
		{"cni", "belongs to a DaemonSet", pod{owner: "DaemonSet"}, func(o *drain.Options) { o.IgnoreDaemonSets = false }},
	} {
		s.add(c.name, c.pod)
		_, err := s.drain(c.change)
		s.wants(err, false, s.space+"/"+c.name, c.says, "nothing was")
		s.there("web", c.name)
		s.must(s.admin.Delete(s.Context(), s.podAt(c.name), map[string]any{"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}))
	}
}

func budgetOpens(s *site) {
	s.kubelet()
	s.add("web", pod{app: "web"})
	s.budget("web-pdb", "web", 0)
	// It opens once the drain has been refused, however long that takes.
	var once bool
	o := drain.FromProto(nil)
	err := drain.Run(s.Context(), s.api, s.node, o, func(line string) {
		if strings.Contains(line, "web (PodDisruptionBudget web-pdb)") && !once {
			once = true
			time.AfterFunc(3*time.Second, func() { s.allow("web-pdb", 1) })
		}
	})
	if err != nil || !once {
		s.Fatalf("%v, refused at first: %v", err, once)
	}
	s.there("-web")
}

func budgetClosed(s *site) {
	s.kubelet()
	s.add("web", pod{app: "web"})
	s.add("other", pod{})
	s.add("twice", pod{app: "twice"})
	s.budget("web-pdb", "web", 0)
	s.budget("twice-1", "twice", 1)
	s.budget("twice-2", "twice", 1)
	begin := time.Now()
	_, err := s.drain(func(o *drain.Options) { o.Timeout = 5 * time.Second })
	if took := time.Since(begin); took > 5*time.Second+2*time.Second {
		s.Errorf("it took %v", took)
	}
	s.wants(err, true, "2 of 3 pods are left", s.space+"/web (PodDisruptionBudget web-pdb: The disruption budget web-pdb needs 2 healthy pods and has 2 currently)",
		"more than one PodDisruptionBudget", "relax its PodDisruptionBudget")
	s.there("web", "twice", "-other")
}

func disablesEviction(s *site) {
	s.kubelet()
	s.add("web", pod{app: "web"})
	s.budget("web-pdb", "web", 0)
	if _, err := s.drain(func(o *drain.Options) { o.DisableEviction = true }); err != nil {
		s.Fatal(err)
	}
	s.there("-web")
}

// keepsGrace reads off the pods how long they were given.
func keepsGrace(s *site) {
	for _, c := range []struct {
		name       string
		grace      int64
		noEviction bool
		want       any
	}{{"profile", 45, false, 45.0}, {"own", -1, false, 30.0}, {"deleted", 44, true, 44.0}} {
		s.add(c.name, pod{})
		_, err := s.drain(func(o *drain.Options) {
			o.Timeout, o.GracePeriod, o.DisableEviction = time.Second, c.grace, c.noEviction
		})
		s.wants(err, true, s.space+"/"+c.name+" (was asked to go and has not ended)")
		object, err := s.admin.Get(s.Context(), s.podAt(c.name))
		s.must(object, err)
		if got := object["metadata"].(map[string]any)["deletionGracePeriodSeconds"]; got != c.want {
			s.Errorf("%s got %v seconds, want %v", c.name, got, c.want)
		}
		s.must(s.admin.Delete(s.Context(), s.podAt(c.name), map[string]any{"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}))
	}
}

// skipsStuck has a pod that a finalizer keeps.
func skipsStuck(s *site) {
	s.kubelet()
	s.add("stuck", pod{finalize: true})
	_, err := s.drain(func(o *drain.Options) { o.Timeout, o.SkipWaitForDeleteTimeout = 3*time.Second, 0 })
	s.wants(err, true, "has not ended", "finalizers")
	said, err := s.drain(func(o *drain.Options) { o.SkipWaitForDeleteTimeout = time.Second })
	if err != nil || !strings.Contains(said, "1 not waited for stay") {
		s.Errorf("%q, %v", said, err)
	}
	s.there("stuck")
	s.must(s.admin.Patch(s.Context(), s.podAt("stuck"), map[string]any{"metadata": map[string]any{"finalizers": nil}}))
}

// comesBack puts pods onto the node for a while although it is drained.
func comesBack(s *site) {
	s.kubelet()
	s.add("web", pod{})
	ctx, cancel := context.WithTimeout(s.Context(), 20*time.Second)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for made := 0; made < 2 && ctx.Err() == nil; {
			if s.get(s.podAt("web")) == "404" {
				s.add("web", pod{})
				made++
			}
		}
	}()
	_, err := s.drain(nil)
	<-done
	if err != nil {
		s.Error(err)
	}
	// The last may have come after the drain was over.
	if _, err := s.drain(nil); err != nil {
		s.Error(err)
	}
	s.there("-web")
}

// drainsPages has more pods than one page of the list.
func drainsPages(s *site) {
	const many = 205
	for i := range many {
		s.add(fmt.Sprintf("done-%03d", i), pod{phase: "Succeeded"})
	}
	said, err := s.drain(nil)
	if err != nil || said != fmt.Sprintf("all %d pods are gone", many) {
		s.Errorf("%q, %v", said, err)
	}
}

// keepsUID evicts a pod that has another's name by now, and one that is gone.
func keepsUID(s *site) {
	uid := s.add("web", pod{})
	other := nodeapi.Pod{Namespace: s.space, Name: "web", UID: "00000000-0000-0000-0000-000000000000"}
	for _, remove := range []func(context.Context, nodeapi.Pod, nodeapi.Removal) error{s.api.Evict, s.api.Delete} {
		var status *nodeapi.StatusError
		if err := remove(s.Context(), other, nodeapi.Removal{}); !errors.As(err, &status) || status.Code != http.StatusConflict {
			s.Errorf("another pod of that name: %v", err)
		}
	}
	s.there("web")
	web := nodeapi.Pod{Namespace: s.space, Name: "web", UID: uid}
	if err := s.api.Delete(s.Context(), web, nodeapi.Removal{GracePeriod: 0}); err != nil {
		s.Fatal(err)
	}
	var status *nodeapi.StatusError
	if err := s.api.Evict(s.Context(), web, nodeapi.Removal{}); !errors.As(err, &status) || status.Code != http.StatusNotFound {
		s.Errorf("evicting a pod that is gone: %v", err)
	}
	want := http.StatusForbidden
	if s.old {
		want = http.StatusNotFound
	}
	s.eventually("reading a pod that is gone is answered otherwise", func() bool {
		_, err := s.self.Get(s.Context(), s.podAt("web"))
		return kube.Code(err) == want
	})
}

// checks finds out and changes nothing.
func checks(s *site) {
	s.add("web", pod{app: "web"})
	s.add("other", pod{})
	s.add("done", pod{phase: "Succeeded"})
	s.budget("web-pdb", "web", 0)
	for _, noEviction := range []bool{false, true} {
		o := drain.FromProto(nil)
		o.DisableEviction = noEviction
		report, err := drain.Check(s.Context(), s.api, s.node, o)
		if err != nil || len(report.Going) != 2 || len(report.Finished) != 1 {
			s.Fatalf("%+v, %v", report, err)
		}
		if noEviction {
			s.must(nil, report.Err(s.node))
		} else {
			s.wants(report.Err(s.node), false, s.space+"/web (PodDisruptionBudget web-pdb")
		}
	}
	pods, err := s.api.Pods(s.Context(), s.node)
	for _, p := range pods {
		if !p.DeletionTimestamp.IsZero() {
			s.Errorf("a check removed %s", p)
		}
	}
	if err != nil || len(pods) != 3 {
		s.Errorf("%d pods, %v", len(pods), err)
	}
}
