package server

import (
	"fmt"
	"net/http"
	"sort"
	"strings"
	"time"
)

// beat is what the stand-in saw of a node's heartbeats.
type beat struct {
	lastPeer    string
	count, good int
	last        time.Time
	lastGood    time.Time
}

// NodeInfo is one node as /lab/nodes shows it.
type NodeInfo struct {
	Name       string `json:"name"`
	InternalIP string `json:"internalIP"`
	// LastPeer is the address the last heartbeat's connection came from.
	LastPeer string `json:"lastPeer"`
	// Ready is the condition that the API reports: True only while heartbeats arrive from InternalIP.
	Ready       bool   `json:"ready"`
	ReadyReason string `json:"readyReason"`
	// Heartbeats counts lease renewals and status patches, GoodHeartbeats those from InternalIP.
	Heartbeats     int               `json:"heartbeats"`
	GoodHeartbeats int               `json:"goodHeartbeats"`
	LastHeartbeat  time.Time         `json:"lastHeartbeat"`
	Labels         map[string]string `json:"labels"`
	Taints         []string          `json:"taints"`
	KubeletVersion string            `json:"kubeletVersion"`
	Unschedulable  bool              `json:"unschedulable"`
}

// Nodes returns every registered node, by name.
func (s *Server) Nodes() []NodeInfo {
	infos := []NodeInfo{}
	for _, item := range s.list("nodes", "") {
		infos = append(infos, s.nodeInfo(item.(object)))
	}
	sort.Slice(infos, func(i, j int) bool { return infos[i].Name < infos[j].Name })
	return infos
}

// PutNode makes a Node without a kubelet behind it, for tests of what reads Nodes.
func (s *Server) PutNode(name string, unschedulable bool) {
	s.put("nodes", name, object{
		"kind": "Node", "apiVersion": "v1", "metadata": object{"name": name}, "spec": object{"unschedulable": unschedulable}, "status": object{},
	})
}

func (s *Server) nodeInfo(node object) NodeInfo {
	name := fmt.Sprint(field(node, "metadata.name"))
	node = s.withReadiness(node)
	info := NodeInfo{Name: name, InternalIP: internalIP(node), Labels: map[string]string{}, Taints: []string{}}
	s.mu.Lock()
	if b := s.beats[name]; b != nil {
		info.LastPeer, info.Heartbeats, info.GoodHeartbeats, info.LastHeartbeat = b.lastPeer, b.count, b.good, b.last
	}
	s.mu.Unlock()
	if cond := readyCondition(node); cond != nil {
		info.Ready, info.ReadyReason = cond["status"] == "True", fmt.Sprint(cond["reason"])
	}
	labels, _ := field(node, "metadata.labels").(map[string]any)
	for k, v := range labels {
		info.Labels[k] = fmt.Sprint(v)
	}
	taints, _ := field(node, "spec.taints").([]any)
	for _, t := range taints {
		m, _ := t.(map[string]any)
		info.Taints = append(info.Taints, fmt.Sprintf("%v=%v:%v", m["key"], orEmpty(m["value"]), m["effect"]))
	}
	info.KubeletVersion = fmt.Sprint(orEmpty(field(node, "status.nodeInfo.kubeletVersion")))
	info.Unschedulable = field(node, "spec.unschedulable") == true
	return info
}

func orEmpty(v any) any {
	if v == nil {
		return ""
	}
	return v
}

func (s *Server) nodeRoutes(add func(string, handler)) {
	add("GET /api/v1/nodes", func(w http.ResponseWriter, r *http.Request, who identity) {
		selector := r.URL.Query().Get("fieldSelector")
		if who.node != "" && selector != "metadata.name="+who.node {
			kubeStatus(w, 403, "Forbidden", "nodes is forbidden: node "+who.node+" may list itself only (field selector metadata.name)")
			return
		}
		items := s.list("nodes", selector)
		for i := range items {
			items[i] = s.withReadiness(items[i].(object))
		}
		s.writeList(w, "v1", "NodeList", items)
	})
	add("POST /api/v1/nodes", s.createNode)
	add("GET /api/v1/nodes/{name}", s.getNode)
	add("PATCH /api/v1/nodes/{name}", s.patchNode)
	add("PATCH /api/v1/nodes/{name}/status", s.patchNode)
	add("DELETE /api/v1/nodes/{name}", func(w http.ResponseWriter, r *http.Request, who identity) {
		name := r.PathValue("name")
		if who.node != "" {
			kubeStatus(w, 403, "Forbidden", fmt.Sprintf("nodes %q is forbidden: a node may not delete nodes", name))
			return
		}
		if !s.remove("nodes", name) {
			notFound(w, "nodes", name)
			return
		}
		writeJSON(w, 200, object{"kind": "Status", "apiVersion": "v1", "status": "Success"})
	})
}

func notFound(w http.ResponseWriter, kind, name string) {
	kubeStatus(w, 404, "NotFound", fmt.Sprintf("%s %q not found", kind, name))
}

func (s *Server) createNode(w http.ResponseWriter, r *http.Request, who identity) {
	node, ok := readObject(w, r)
	if !ok {
		return
	}
	name := fmt.Sprint(field(node, "metadata.name"))
	if !mayTouch(w, who, name) {
		return
	}
	node["kind"], node["apiVersion"] = "Node", "v1"
	created, ok := s.create("nodes", name, node)
	if !ok {
		kubeStatus(w, 409, "AlreadyExists", fmt.Sprintf("nodes %q already exists", name))
		return
	}
	writeJSON(w, 201, created)
}

func (s *Server) getNode(w http.ResponseWriter, r *http.Request, who identity) {
	name := r.PathValue("name")
	if !mayTouch(w, who, name) {
		return
	}
	node := s.get("nodes", name)
	if node == nil {
		notFound(w, "nodes", name)
		return
	}
	writeJSON(w, 200, s.withReadiness(node))
}

func (s *Server) patchNode(w http.ResponseWriter, r *http.Request, who identity) {
	name := r.PathValue("name")
	if !mayTouch(w, who, name) {
		return
	}
	ct := r.Header.Get("Content-Type")
	strategic := strings.HasPrefix(ct, "application/strategic-merge-patch+json")
	if !strategic && !strings.HasPrefix(ct, "application/merge-patch+json") {
		kubeStatus(w, 415, "UnsupportedMediaType", "the stand-in takes merge patches only, not "+ct)
		return
	}
	patch, ok := readObject(w, r)
	if !ok {
		return
	}
	node, err := s.update("nodes", name, func(obj object) error {
		before := clone(obj)
		merge(obj, patch, strategic)
		return nodeChange(who, before, obj)
	})
	if err != nil {
		refuse(w, "nodes", name, err)
		return
	}
	if strings.HasSuffix(r.URL.Path, "/status") {
		s.heartbeat(name, hostOf(r.RemoteAddr))
	}
	writeJSON(w, 200, s.withReadiness(node))
}

// heartbeat counts a sign of life. It is good only when its connection came from the Node's own InternalIP: through the
// tunnel and without address translation.
func (s *Server) heartbeat(name, peer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.beats[name]
	if b == nil {
		b = &beat{}
		s.beats[name] = b
	}
	b.count++
	b.lastPeer, b.last = peer, time.Now()
	if node := s.objects["nodes"][name]; node != nil && internalIP(node) == peer {
		b.good++
		b.lastGood = b.last
	}
}

func internalIP(node object) string {
	addresses, _ := field(node, "status.addresses").([]any)
	for _, a := range addresses {
		if m, ok := a.(map[string]any); ok && m["type"] == "InternalIP" {
			return fmt.Sprint(m["address"])
		}
	}
	return ""
}

func readyCondition(node object) object {
	conditions, _ := field(node, "status.conditions").([]any)
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok && m["type"] == "Ready" {
			return m
		}
	}
	return nil
}

// withReadiness turns the Ready condition to Unknown once good heartbeats have been missing for the grace period.
func (s *Server) withReadiness(node object) object {
	name := fmt.Sprint(field(node, "metadata.name"))
	s.mu.Lock()
	var b beat
	if p := s.beats[name]; p != nil {
		b = *p
	}
	s.mu.Unlock()
	cond := readyCondition(node)
	if cond == nil || time.Since(b.lastGood) <= s.opt.Grace {
		return node
	}
	cond["status"] = "Unknown"
	cond["reason"], cond["message"] = "NodeStatusUnknown", "Kubelet stopped posting node status."
	if time.Since(b.last) <= s.opt.Grace {
		cond["reason"] = "HeartbeatFromOtherAddress"
		cond["message"] = fmt.Sprintf("heartbeats arrive from %s, the node's InternalIP is %s", b.lastPeer, internalIP(node))
	}
	return node
}
