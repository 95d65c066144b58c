package server_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"hybridagent/test/fakeaws/server"
)

// cluster is an API with pods web-0 and web-1 of one budget on the nodes n and m.
func cluster(t *testing.T, version, annotations, pdb string) *api {
	t.Helper()
	a := newAPI(t, server.Options{Version: version})
	pod := func(name, node string) string {
		return fmt.Sprintf(`{"metadata":{"namespace":"shop","name":%q,"labels":{"app":"web"},"annotations":{%s}},"spec":{"nodeName":%q},"status":{"phase":"Running"}}`,
			name, annotations, node)
	}
	if err := a.s.SetPods([]byte("[" + pod("web-0", "n") + "," + pod("web-1", "m") + "]")); err != nil {
		t.Fatal(err)
	}
	if pdb != "" {
		budget := `[{"metadata":{"namespace":"shop","name":"web"},"spec":{"selector":{"matchLabels":{"app":"web"}},` + pdb + `}]`
		if err := a.s.SetPDBs([]byte(budget)); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

const web0 = "/api/v1/namespaces/shop/pods/web-0"

func TestABudgetRefusesEvictions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pdb  string
		code int
	}{
		{`"minAvailable":2}`, 429}, {`"minAvailable":1}`, 201}, {`"maxUnavailable":0}`, 429}, {`"maxUnavailable":1}`, 201},
		{`"minAvailable":2},"status":{"disruptionsAllowed":1}`, 201}, {`"minAvailable":0},"status":{"disruptionsAllowed":0}`, 429},
	} {
		t.Run(c.pdb, func(t *testing.T) {
			t.Parallel()
			a := cluster(t, "1.31", "", c.pdb).as("n")
			a.wantCode(c.code, "POST", web0+"/eviction?dryRun=All", asJSON, `{}`)
			a.wantCode(200, "GET", web0, "", "")
			status := a.wantCode(c.code, "POST", web0+"/eviction", asJSON, `{"apiVersion":"policy/v1","kind":"Eviction"}`)
			if c.code == 429 && !strings.Contains(fmt.Sprint(status["details"]), "The disruption budget web needs") {
				t.Errorf("answer %v, want it to name the budget", status)
			}
			want := map[int]int{429: 200, 201: 404}[c.code]
			a.wantCode(want, "GET", web0, "", "")
		})
	}
}

func TestFinishedPodsAskNoBudget(t *testing.T) {
	t.Parallel()
	a := cluster(t, "1.31", "", `"minAvailable":2}`)
	if err := a.s.SetPods([]byte(`[{"metadata":{"namespace":"shop","name":"web-0","labels":{"app":"web"}},"status":{"phase":"Succeeded"}}]`)); err != nil {
		t.Fatal(err)
	}
	a.wantCode(201, "POST", web0+"/eviction", asJSON, `{}`)
}

func TestAReplacementGoesWhereItMay(t *testing.T) {
	t.Parallel()
	a := cluster(t, "1.31", `"lab.hybrid/replacement":"*"`, "")
	a.s.PutNode("m", false)
	a.s.PutNode("n", true)
	want := func(node string, pods int) {
		t.Helper()
		list := a.wantCode(200, "GET", "/api/v1/pods?fieldSelector=spec.nodeName="+node, "", "")["items"]
		if items, _ := list.([]any); len(items) != pods {
			t.Errorf("%d pods on node %q, want %d", len(items), node, pods)
		}
	}
	a.wantCode(201, "POST", web0+"/eviction", asJSON, `{}`)
	want("n", 0)
	want("m", 2)
	a.s.PutNode("m", true)
	a.wantCode(201, "POST", "/api/v1/namespaces/shop/pods/web-1/eviction", asJSON, `{}`)
	want("m", 1)
	want("", 1)
}

func TestEvictionHonoursTheUID(t *testing.T) {
	t.Parallel()
	a := cluster(t, "1.31", "", "").as("n")
	a.wantCode(409, "POST", web0+"/eviction", asJSON, `{"deleteOptions":{"preconditions":{"uid":"another"}}}`)
	a.wantCode(409, "DELETE", web0, asJSON, `{"preconditions":{"uid":"another"}}`)
	meta := a.wantCode(200, "GET", web0, "", "")["metadata"].(map[string]any)
	a.wantCode(201, "POST", web0+"/eviction", asJSON, fmt.Sprintf(`{"deleteOptions":{"preconditions":{"uid":%q}}}`, meta["uid"]))
}

func TestANodeTouchesItsOwnPodsOnly(t *testing.T) {
	t.Parallel()
	for version, gone := range map[string]int{"1.31": 404, "1.32": 403} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			a := cluster(t, version, "", "").as("m")
			a.wantCode(403, "GET", web0, "", "")
			a.wantCode(403, "DELETE", web0, "", "")
			a.wantCode(403, "POST", web0+"/eviction", asJSON, `{}`)
			a.wantCode(gone, "GET", "/api/v1/namespaces/shop/pods/none", "", "")
			a.wantCode(403, "GET", "/apis/policy/v1/poddisruptionbudgets", "", "")
			a.wantCode(200, "DELETE", "/api/v1/namespaces/shop/pods/web-1", "", "")
		})
	}
}

func TestAnEvictedPodTerminatesAndIsReplaced(t *testing.T) {
	t.Parallel()
	a := cluster(t, "1.31", `"lab.hybrid/gone-after-ms":"60","lab.hybrid/replacement":"m"`, "")
	a.as("n").wantCode(201, "POST", web0+"/eviction", asJSON, `{"deleteOptions":{"gracePeriodSeconds":7}}`)
	meta := a.wantCode(200, "GET", web0, "", "")["metadata"].(map[string]any)
	if meta["deletionTimestamp"] == nil || meta["deletionGracePeriodSeconds"] != 7.0 {
		t.Errorf("metadata %v, want a terminating pod with 7 s", meta)
	}
	pods := func() (names []string) {
		for _, pod := range a.s.Pods() {
			names = append(names, fmt.Sprint(pod["metadata"].(map[string]any)["name"], "@", pod["spec"].(map[string]any)["nodeName"]))
		}
		return names
	}
	for deadline := time.Now().Add(5 * time.Second); strings.Contains(fmt.Sprint(pods()), "web-0@n"); <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the pod is still there: %v", pods())
		}
	}
	if got := fmt.Sprint(pods()); !strings.Contains(got, "web-0-r") || !strings.Contains(got, "@m") {
		t.Errorf("pods %s, want a replacement of web-0 on m", got)
	}
}

func TestAStuckPodGoesWithoutGraceOnly(t *testing.T) {
	t.Parallel()
	a := cluster(t, "1.31", `"lab.hybrid/gone-after-ms":"-1"`, "").as("n")
	a.wantCode(200, "DELETE", web0, asJSON, `{"gracePeriodSeconds":1,"dryRun":["All"]}`)
	if meta := a.wantCode(200, "GET", web0, "", "")["metadata"].(map[string]any); meta["deletionTimestamp"] != nil {
		t.Errorf("a dry run marked the pod: %v", meta)
	}
	a.wantCode(200, "DELETE", web0, asJSON, `{"gracePeriodSeconds":1}`)
	a.wantCode(200, "GET", web0, "", "")
	a.wantCode(200, "DELETE", web0+"?gracePeriodSeconds=0", "", "")
	a.wantCode(404, "GET", web0, "", "")
}

func TestNodeRestrictionOfLabelsAndTaints(t *testing.T) {
	t.Parallel()
	a := newAPI(t, server.Options{})
	a.wantCode(201, "POST", "/api/v1/nodes", asJSON, `{"metadata":{"name":"n","labels":{"example.kubernetes.io/a":"1"}},"spec":{"taints":[{"key":"k"}]}}`)
	node := a.as("n")
	for _, c := range []struct {
		patch string
		code  int
	}{
		{`{"metadata":{"labels":{"site":"a","eks.amazonaws.com/x":"1","node.kubernetes.io/pool":"p","topology.kubernetes.io/zone":"z"}}}`, 200},
		{`{"metadata":{"labels":{"site":null}}}`, 200},
		{`{"metadata":{"labels":{"example.kubernetes.io/a":"1"}}}`, 200}, // unchanged
		{`{"metadata":{"labels":{"example.kubernetes.io/a":"2"}}}`, 403},
		{`{"metadata":{"labels":{"node-role.kubernetes.io/edge":""}}}`, 403},
		{`{"metadata":{"labels":{"node-restriction.kubernetes.io/x":"1"}}}`, 403},
		{`{"metadata":{"annotations":{"hybrid-agent/cordoned-by":"op"}},"spec":{"unschedulable":true}}`, 200},
		{`{"spec":{"taints":[]}}`, 403},
		{`{"metadata":{"uid":"another"},"spec":{"unschedulable":false}}`, 409},
		{`{"metadata":{"resourceVersion":"1"},"spec":{"unschedulable":false}}`, 409},
	} {
		node.wantCode(c.code, "PATCH", "/api/v1/nodes/n", merge, c.patch)
	}
	obj := node.wantCode(200, "GET", "/api/v1/nodes/n", "", "")
	if obj["spec"].(map[string]any)["unschedulable"] != true {
		t.Errorf("node %v, want it cordoned still", obj)
	}
	a.wantCode(200, "PATCH", "/api/v1/nodes/n", merge, `{"metadata":{"labels":{"node-role.kubernetes.io/edge":""}},"spec":{"taints":[]}}`)
}

func TestTheClusterVersionChangesAtRunTime(t *testing.T) {
	t.Parallel()
	a := newAPI(t, server.Options{Version: "1.31"})
	resp, err := a.client.Post(a.s.AWSURL()+"/lab/cluster", asJSON, strings.NewReader(`{"version":"1.33"}`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if v := a.wantCode(200, "GET", "/version", "", ""); v["minor"] != "33" {
		t.Errorf("version %v, want 1.33", v)
	}
	if err := a.s.SetClusterVersion("latest"); err == nil {
		t.Error("the cluster version latest was accepted")
	}
}
