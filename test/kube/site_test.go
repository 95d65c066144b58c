//go:build kube

package kube_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"hybridagent/nodeadm/drain"
	"hybridagent/nodeadm/nodeapi"
	"hybridagent/test/kube"
)

// generations are the two kinds of rights that nodes have.
func generations() map[string]bool {
	return map[string]bool{"rights-today": false, "rights-until-1.31": true}
}

// TestCluster runs every scenario against a real control plane of each
// generation, each on a node and in a namespace of its own.
func TestCluster(t *testing.T) {
	t.Parallel()
	components, err := kube.Build(t.Context(), func(line string) { t.Log(line) }, kube.Etcd, kube.APIServer)
	if err != nil {
		t.Fatal(err)
	}
	for name, old := range generations() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// The cluster outlives this function: its scenarios run in parallel.
			cluster, err := kube.Start(context.WithoutCancel(t.Context()), components, kube.Options{Dir: t.TempDir(), OldRights: old})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(cluster.Stop)
			for scenario, run := range scenarios() {
				t.Run(scenario, func(t *testing.T) {
					t.Parallel()
					run(newSite(t, cluster, scenario, old))
				})
			}
		})
	}
}

func scenarios() map[string]func(*site) {
	return map[string]func(*site){
		"cordon": cordons, "drain": drains, "refusals": refuses, "budget-opens": budgetOpens, "budget-closed": budgetClosed,
		"no-eviction": disablesEviction, "grace": keepsGrace, "stuck": skipsStuck, "comes-back": comesBack, "pages": drainsPages,
		"identity": keepsUID, "check": checks, "labels": labels, "ready": reads, "certificates": certificates, "rights": rights,
		"credentials": credentials,
	}
}

// site is a node with a namespace for its pods.
type site struct {
	*testing.T
	cluster *kube.Cluster
	admin   *kube.User
	self    *kube.User // the node, raw
	api     *nodeapi.Client
	node    string
	space   string
	old     bool
	// kubeconfig names a program for credentials.
	kubeconfig string
}

func newSite(t *testing.T, cluster *kube.Cluster, name string, old bool) *site {
	s := &site{T: t, cluster: cluster, node: "edge-" + name, space: name, old: old}
	var err error
	if s.admin, err = cluster.Admin(); err != nil {
		t.Fatal(err)
	}
	if s.kubeconfig, err = cluster.NodeKubeconfig(s.node); err != nil {
		t.Fatal(err)
	}
	if s.self, err = cluster.Node(s.node); err != nil {
		t.Fatal(err)
	}
	if s.api, err = nodeapi.Open(s.kubeconfig); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.api.Close)
	s.make("/api/v1/namespaces", object("v1", "Namespace", s.space, nil))
	s.make("/api/v1/nodes", object("v1", "Node", s.node, nil))
	return s
}

// object is one of the API, with more of its metadata.
func object(version, kind, name string, metadata map[string]any) map[string]any {
	all := map[string]any{"name": name}
	for key, value := range metadata {
		all[key] = value
	}
	return map[string]any{"apiVersion": version, "kind": kind, "metadata": all}
}

// make creates an object as the administrator.
func (s *site) make(path string, object any) map[string]any {
	s.Helper()
	made, err := s.admin.Create(s.Context(), path, object)
	if err != nil {
		s.Fatal(err)
	}
	return made
}

// must fails the test.
func (s *site) must(_ any, err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *site) pods() string          { return "/api/v1/namespaces/" + s.space + "/pods" }
func (s *site) podAt(n string) string { return s.pods() + "/" + n }
func (s *site) nodePath() string      { return "/api/v1/nodes/" + s.node }
func (s *site) get(path string) string {
	_, err := s.admin.Get(s.Context(), path)
	return fmt.Sprint(kube.Code(err))
}

// pod says what is special of one.
type pod struct {
	phase    string // default Running
	owner    string // kind of apps/v1; default ReplicaSet; "none"
	emptyDir bool
	app      string
	finalize bool // a finalizer keeps it
}

// add makes a pod on the node and gives it its phase, as its kubelet would.
func (s *site) add(name string, p pod) string {
	s.Helper()
	metadata := map[string]any{"labels": map[string]any{"app": p.app}}
	if p.owner == "" {
		p.owner = "ReplicaSet"
	}
	if p.owner != "none" {
		metadata["ownerReferences"] = []any{map[string]any{"apiVersion": "apps/v1", "kind": p.owner, "name": "owner", "uid": "11111111-2222-3333-4444-555555555555", "controller": true}}
	}
	if p.finalize {
		metadata["finalizers"] = []any{"test.example/keep"}
	}
	spec := map[string]any{"nodeName": s.node, "containers": []any{map[string]any{"name": "c", "image": "none"}}}
	if p.emptyDir {
		spec["volumes"] = []any{map[string]any{"name": "data", "emptyDir": map[string]any{}}}
	}
	made := object("v1", "Pod", name, metadata)
	made["spec"] = spec
	answer := s.make(s.pods(), made)
	if p.phase == "" {
		p.phase = "Running"
	}
	s.must(s.self.Patch(s.Context(), s.podAt(name)+"/status", map[string]any{"status": map[string]any{
		"phase": p.phase, "conditions": []any{map[string]any{"type": "Ready", "status": "True"}},
	}}))
	return answer["metadata"].(map[string]any)["uid"].(string)
}

// mirror makes the mirror of a static pod, as its kubelet does.
func (s *site) mirror(name string) {
	s.Helper()
	node, err := s.api.Node(s.Context(), s.node)
	s.must(nil, err)
	made := object("v1", "Pod", name, map[string]any{
		"annotations":     map[string]any{"kubernetes.io/config.mirror": "hash", "kubernetes.io/config.source": "file"},
		"ownerReferences": []any{map[string]any{"apiVersion": "v1", "kind": "Node", "name": s.node, "uid": node.UID, "controller": true}},
	})
	made["spec"] = map[string]any{"nodeName": s.node, "containers": []any{map[string]any{"name": "c", "image": "none"}}}
	s.must(s.self.Create(s.Context(), s.pods(), made))
}

// budget makes a PodDisruptionBudget for an app; without a controller manager its
// status is set by hand.
func (s *site) budget(name, app string, allowed int) {
	s.Helper()
	path := "/apis/policy/v1/namespaces/" + s.space + "/poddisruptionbudgets"
	made := object("policy/v1", "PodDisruptionBudget", name, nil)
	made["spec"] = map[string]any{"minAvailable": 2, "selector": map[string]any{"matchLabels": map[string]any{"app": app}}}
	s.make(path, made)
	s.allow(name, allowed)
}

func (s *site) allow(budget string, allowed int) {
	s.must(s.admin.Patch(context.WithoutCancel(s.Context()), "/apis/policy/v1/namespaces/"+s.space+"/poddisruptionbudgets/"+budget+"/status", map[string]any{"status": map[string]any{
		"observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": 2 + allowed, "desiredHealthy": 2, "expectedPods": 2 + allowed,
	}}))
}

// kubelet ends pods that were asked to go, with the node's own rights: without one
// they would stay for ever.
func (s *site) kubelet() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			pods, _ := s.api.Pods(ctx, s.node)
			for _, p := range pods {
				if !p.DeletionTimestamp.IsZero() {
					_ = s.api.Delete(ctx, p, nodeapi.Removal{GracePeriod: 0})
				}
			}
		}
	}()
	s.Cleanup(func() { cancel(); <-done })
}

// drain runs one and returns what it said last.
func (s *site) drain(change func(*drain.Options)) (string, error) {
	o := drain.FromProto(nil)
	o.Timeout = 30 * time.Second
	if change != nil {
		change(&o)
	}
	last := ""
	err := drain.Run(s.Context(), s.api, s.node, o, func(line string) { last = line; s.Log(line) })
	return last, err
}

// eventually waits for a condition; what says what is wrong while it does not hold.
func (s *site) eventually(what string, holds func() bool) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			s.Fatal(what)
		case <-tick.C:
		}
	}
}
