//go:build kube

package kube_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hybridagent/nodeadm/drain"
	"hybridagent/nodeadm/nodeapi"
	"hybridagent/test/kube"
)

// TestKubelet takes a Deployment with a PodDisruptionBudget from one real node to
// another and back, by our cordon, drain and uncordon, with an upgrade by the
// stand-in for nodeadm in between, which installed and started the first node's
// kubelet.
func TestKubelet(t *testing.T) {
	isolation, inside, err := kube.Isolated()
	switch {
	case err != nil:
		t.Fatal(err)
	case inside:
		moves(t, isolation)
		return
	}
	say := func(line string) { t.Log(line) }
	if _, err := kube.Build(t.Context(), say, realParts()...); err != nil {
		t.Fatal(err)
	}
	if _, err := kube.Packages(t.Context(), say); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	out, err := kube.Isolate(ctx, t.TempDir(), "-test.run=^TestKubelet$", "-test.v", "-test.timeout=7m")
	if err != nil || !strings.Contains(string(out), "--- PASS: TestKubelet") {
		t.Fatalf("in its namespaces: %v\n%s", err, out)
	}
	t.Logf("%s", out)
}

func realParts() []string {
	return []string{kube.Etcd, kube.APIServer, kube.ControllerManager, kube.Scheduler, kube.Kubelet}
}

// world is a control plane with two real nodes.
type world struct {
	*testing.T
	admin    *kube.User
	machines []*kube.Machine
	apis     []*nodeapi.Client
}

func newWorld(t *testing.T, isolation kube.Isolation) *world {
	components, err := kube.Build(t.Context(), func(line string) { t.Log(line) }, realParts()...)
	if err != nil {
		t.Fatal(err)
	}
	packages, err := kube.Packages(t.Context(), func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	dir := func(name string) string {
		path := filepath.Join(isolation.Dir, name)
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cluster, err := kube.Start(t.Context(), components, kube.Options{Dir: dir("plane"), Address: isolation.Address, Controllers: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Stop)
	w := &world{T: t}
	if w.admin, err = cluster.Admin(); err != nil {
		t.Fatal(err)
	}
	for i, node := range []string{"edge-1", "edge-2"} {
		machine, err := cluster.StartMachine(t.Context(), kube.MachineOptions{Node: node, Packages: packages, Dir: dir(node), Cgroup: isolation.Cgroup + "/" + node, Ports: 10250 + 10*i, Nodeadm: i == 0})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(machine.Stop)
		api, err := nodeapi.Open(machine.Kubeconfig)
		if err != nil {
			t.Fatal(err)
		}
		w.machines, w.apis = append(w.machines, machine), append(w.apis, api)
	}
	return w
}

// until waits for a condition, which says what is not so yet.
func (w *world) until(holds func() string) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 90*time.Second)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for wrong := holds(); wrong != ""; wrong = holds() {
		select {
		case <-ctx.Done():
			for _, machine := range w.machines {
				w.Log(machine.Log())
			}
			w.Fatal(wrong)
		case <-tick.C:
		}
	}
}

func (w *world) ready(i int) {
	w.Helper()
	w.until(func() string {
		node, err := w.apis[i].Node(w.Context(), w.machines[i].Node)
		if err != nil || !node.Ready {
			return fmt.Sprintf("%s is not Ready: %s: %s %v", w.machines[i].Node, node.Reason, node.Message, err)
		}
		return ""
	})
}

// runs waits until so many ready pods of the Deployment are on the node.
func (w *world) runs(i, want int) {
	w.Helper()
	w.until(func() string {
		pods, err := w.apis[i].Pods(w.Context(), w.machines[i].Node)
		running := 0
		for _, p := range pods {
			if strings.HasPrefix(p.Name, "shop-") && p.Phase == "Running" && p.DeletionTimestamp.IsZero() {
				running++
			}
		}
		if running != want {
			return fmt.Sprintf("%d pods of the Deployment run on %s, not %d (%v): %v", running, w.machines[i].Node, want, err, pods)
		}
		return ""
	})
}

func (w *world) make(path string, object map[string]any, spec map[string]any) {
	w.Helper()
	object["spec"] = spec
	if _, err := w.admin.Create(w.Context(), path, object); err != nil {
		w.Fatal(err)
	}
}

// template runs the one image that there is, on the node's own network.
func template(app string, args ...string) map[string]any {
	container := map[string]any{"name": "c", "image": kube.Image, "imagePullPolicy": "Never", "args": args}
	return map[string]any{
		"metadata": map[string]any{"labels": map[string]any{"app": app}},
		"spec":     map[string]any{"hostNetwork": true, "terminationGracePeriodSeconds": 5, "containers": []any{container}},
	}
}

// workloads are a Deployment under a budget, a DaemonSet, a pod that has ended and a
// static pod.
func (w *world) workloads() {
	selector := map[string]any{"matchLabels": map[string]any{"app": "shop"}}
	w.make("/apis/apps/v1/namespaces/default/deployments", object("apps/v1", "Deployment", "shop", nil), map[string]any{"replicas": 3, "selector": selector, "template": template("shop")})
	w.make("/apis/policy/v1/namespaces/default/poddisruptionbudgets", object("policy/v1", "PodDisruptionBudget", "shop", nil), map[string]any{"maxUnavailable": 1, "selector": selector})
	agents := map[string]any{"matchLabels": map[string]any{"app": "agents"}}
	w.make("/apis/apps/v1/namespaces/default/daemonsets", object("apps/v1", "DaemonSet", "agents", nil), map[string]any{"selector": agents, "template": template("agents")})
	once := template("once", "once")["spec"].(map[string]any)
	once["restartPolicy"], once["nodeName"] = "Never", "edge-1"
	w.make("/api/v1/namespaces/default/pods", object("v1", "Pod", "once", nil), once)
	static := `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"static","namespace":"default"},"spec":{"hostNetwork":true,"containers":[{"name":"c","image":"` + kube.Image + `","imagePullPolicy":"Never"}]}}`
	if err := os.WriteFile(filepath.Join(w.machines[0].StaticPods, "static.json"), []byte(static), 0o600); err != nil {
		w.Fatal(err)
	}
}

// empty drains a node by our code and checks what is left there.
func (w *world) empty(i int, left ...string) {
	w.Helper()
	node := w.machines[i].Node
	begin := time.Now()
	if already, err := w.apis[i].Cordon(w.Context(), node, "op"); err != nil || already {
		w.Fatalf("cordon: %v, %v", already, err)
	}
	err := drain.Run(w.Context(), w.apis[i], node, drain.FromProto(nil), func(line string) { w.Logf("%s: %s", node, line) })
	if err != nil {
		w.Fatal(err)
	}
	w.Logf("%s was drained in %v", node, time.Since(begin).Round(10*time.Millisecond))
	pods, err := w.apis[i].Pods(w.Context(), node)
	if err != nil || len(pods) != len(left) {
		w.Fatalf("left are %v, %v, want %v", pods, err, left)
	}
	for n, p := range pods {
		if !strings.HasPrefix(p.Name, left[n]) {
			w.Errorf("left is %s, want %s", p, left[n])
		}
	}
}

func (w *world) open(i int) {
	w.Helper()
	if changed, err := w.apis[i].Uncordon(w.Context(), w.machines[i].Node, "op"); err != nil || !changed {
		w.Fatalf("uncordon: %v, %v", changed, err)
	}
}

// schedulable is the administrator's own cordon.
func (w *world) schedulable(i int, yes bool) {
	w.Helper()
	if _, err := w.admin.Patch(w.Context(), "/api/v1/nodes/"+w.machines[i].Node, map[string]any{"spec": map[string]any{"unschedulable": !yes}}); err != nil {
		w.Fatal(err)
	}
}

// approve issues kubelet's serving certificate as an administrator would.
func (w *world) approve(i int) {
	w.Helper()
	node := w.machines[i].Node
	var csr nodeapi.CSR
	state := func(want nodeapi.CSRState) {
		w.Helper()
		w.until(func() string {
			var err error
			if csr, err = w.apis[i].ServingCSR(w.Context(), node); err != nil || csr.State != want {
				return fmt.Sprintf("the request of %s is %+v, %v, not %s", node, csr, err, want)
			}
			return ""
		})
	}
	state(nodeapi.CSRPending)
	if !strings.Contains(csr.Cause, "10.200.0.11") {
		w.Errorf("the cause is %q", csr.Cause)
	}
	approval := map[string]any{"status": map[string]any{"conditions": []any{map[string]any{"type": "Approved", "status": "True", "reason": "Tested"}}}}
	if _, err := w.admin.Patch(w.Context(), "/apis/certificates.k8s.io/v1/certificatesigningrequests/"+csr.Name+"/approval", approval); err != nil {
		w.Fatal(err)
	}
	state(nodeapi.CSRIssued)
}

// upgrade is nodeadm's: it counts static pods, so that a drained node that has one
// needs its check of pods left out.
func (w *world) upgrade(i int) {
	w.Helper()
	before, err := w.apis[i].Node(w.Context(), w.machines[i].Node)
	if err != nil {
		w.Fatal(err)
	}
	former, err := w.machines[i].KubeletPID()
	if err != nil {
		w.Fatal(err)
	}
	if err := w.machines[i].Upgrade(w.Context(), "none"); err == nil || !strings.Contains(err.Error(), "static") {
		w.Errorf("nodeadm passes over a static pod: %v", err)
	}
	if err := w.machines[i].Upgrade(w.Context(), "pod-validation"); err != nil {
		w.Log(w.machines[i].Log())
		w.Fatal(err)
	}
	w.ready(i)
	if pid, err := w.machines[i].KubeletPID(); err != nil || pid == former {
		w.Errorf("nodeadm left kubelet %s as it was: %v", pid, err)
	}
	after, err := w.apis[i].Node(w.Context(), w.machines[i].Node)
	if err != nil || after.UID != before.UID || !after.Unschedulable || after.CordonedBy != "op" {
		w.Errorf("after the upgrade: %+v, %v", after, err)
	}
}

func moves(t *testing.T, isolation kube.Isolation) {
	w := newWorld(t, isolation)
	w.ready(0)
	w.ready(1)
	w.approve(0)
	w.schedulable(1, false)
	w.workloads()
	w.runs(0, 3)
	w.schedulable(1, true)
	w.until(func() string {
		report, err := drain.Check(w.Context(), w.apis[0], "edge-1", drain.FromProto(nil))
		if err != nil || len(report.Blocking) > 0 || len(report.Static) != 1 || len(report.DaemonSets) != 1 || len(report.Finished) != 1 || len(report.Going) != 3 {
			return fmt.Sprintf("the check says %+v, %v", report, err)
		}
		return ""
	})
	w.empty(0, "agents-", "static-")
	w.runs(1, 3)
	w.upgrade(0)
	w.open(0)
	w.empty(1, "agents-")
	w.runs(0, 3)
	w.open(1)
}
