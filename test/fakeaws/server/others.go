package server

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"
)

func (s *Server) leaseRoutes(add func(string, handler)) {
	const base = "/apis/coordination.k8s.io/v1/namespaces/{ns}/leases"
	add("GET "+base+"/{name}", func(w http.ResponseWriter, r *http.Request, who identity) {
		if lease := s.get("leases", key(r)); lease != nil {
			writeJSON(w, 200, lease)
			return
		}
		notFound(w, "leases.coordination.k8s.io", r.PathValue("name"))
	})
	add("POST "+base, func(w http.ResponseWriter, r *http.Request, who identity) {
		lease, ok := readObject(w, r)
		if !ok {
			return
		}
		name := fmt.Sprint(field(lease, "metadata.name"))
		if !mayTouch(w, who, name) {
			return
		}
		created, ok := s.create("leases", r.PathValue("ns")+"/"+name, lease)
		if !ok {
			kubeStatus(w, 409, "AlreadyExists", fmt.Sprintf("leases.coordination.k8s.io %q already exists", name))
			return
		}
		s.heartbeat(name, hostOf(r.RemoteAddr))
		writeJSON(w, 201, created)
	})
	add("PUT "+base+"/{name}", func(w http.ResponseWriter, r *http.Request, who identity) {
		lease, ok := readObject(w, r)
		if !ok || !mayTouch(w, who, r.PathValue("name")) {
			return
		}
		if s.get("leases", key(r)) == nil {
			notFound(w, "leases.coordination.k8s.io", r.PathValue("name"))
			return
		}
		s.heartbeat(r.PathValue("name"), hostOf(r.RemoteAddr))
		writeJSON(w, 200, s.put("leases", key(r), lease))
	})
}

func key(r *http.Request) string { return r.PathValue("ns") + "/" + r.PathValue("name") }

func (s *Server) podRoutes(add func(string, handler)) {
	list := func(w http.ResponseWriter, r *http.Request, who identity) {
		selector := r.URL.Query().Get("fieldSelector")
		if who.node != "" && !strings.Contains(","+selector+",", ",spec.nodeName="+who.node+",") {
			kubeStatus(w, 403, "Forbidden", "pods is forbidden: node "+who.node+" can only list pods with spec.nodeName field selector")
			return
		}
		if ns := r.PathValue("ns"); ns != "" {
			selector += ",metadata.namespace=" + ns
		}
		s.writeList(w, "v1", "PodList", s.list("pods", selector))
	}
	add("GET /api/v1/pods", list)
	add("GET /api/v1/namespaces/{ns}/pods", list)
	add("GET /api/v1/namespaces/{ns}/pods/{name}", func(w http.ResponseWriter, r *http.Request, _ identity) {
		if pod := s.get("pods", key(r)); pod != nil {
			writeJSON(w, 200, pod)
			return
		}
		notFound(w, "pods", r.PathValue("name"))
	})
	gone := func(w http.ResponseWriter, r *http.Request, _ identity) {
		if !s.remove("pods", key(r)) {
			notFound(w, "pods", r.PathValue("name"))
			return
		}
		writeJSON(w, 201, object{"kind": "Status", "apiVersion": "v1", "status": "Success"})
	}
	add("DELETE /api/v1/namespaces/{ns}/pods/{name}", gone)
	add("POST /api/v1/namespaces/{ns}/pods/{name}/eviction", gone)
}

// labPods replaces the pods: a JSON list of Pod objects with namespace, name and spec.nodeName.
func (s *Server) labPods(w http.ResponseWriter, r *http.Request) {
	var pods []object
	if err := json.NewDecoder(r.Body).Decode(&pods); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.objects["pods"] = map[string]object{}
	for _, pod := range pods {
		s.putLocked("pods", fmt.Sprintf("%v/%v", field(pod, "metadata.namespace"), field(pod, "metadata.name")), pod)
	}
	s.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

// csrRoutes take a kubelet's serving request and approve and sign it at once.
func (s *Server) csrRoutes(add func(string, handler)) {
	const base = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
	add("GET "+base, func(w http.ResponseWriter, r *http.Request, _ identity) {
		s.writeList(w, "certificates.k8s.io/v1", "CertificateSigningRequestList", s.list("csrs", r.URL.Query().Get("fieldSelector")))
	})
	add("GET "+base+"/{name}", func(w http.ResponseWriter, r *http.Request, _ identity) {
		if csr := s.get("csrs", r.PathValue("name")); csr != nil {
			writeJSON(w, 200, csr)
			return
		}
		notFound(w, "certificatesigningrequests.certificates.k8s.io", r.PathValue("name"))
	})
	add("POST "+base, s.createCSR)
}

func (s *Server) createCSR(w http.ResponseWriter, r *http.Request, who identity) {
	csr, ok := readObject(w, r)
	if !ok {
		return
	}
	raw, _ := base64.StdEncoding.DecodeString(fmt.Sprint(field(csr, "spec.request")))
	block, _ := pem.Decode(raw)
	if block == nil {
		kubeStatus(w, 422, "Invalid", "spec.request: PEM block type must be CERTIFICATE REQUEST")
		return
	}
	req, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil || req.CheckSignature() != nil {
		kubeStatus(w, 422, "Invalid", "spec.request: not a valid certificate request")
		return
	}
	signed, err := s.pki.signRequest(req)
	if err != nil {
		kubeStatus(w, 500, "InternalError", err.Error())
		return
	}
	meta := child(csr, "metadata")
	if meta["name"] == nil {
		s.mu.Lock()
		meta["name"] = fmt.Sprintf("%vstandin%d", orEmpty(meta["generateName"]), s.version+1)
		s.mu.Unlock()
	}
	child(csr, "spec")["username"] = who.user
	csr["status"] = object{
		"certificate": base64.StdEncoding.EncodeToString(signed),
		"conditions":  []any{object{"type": "Approved", "status": "True", "reason": "StandIn", "message": "approved at once by the stand-in"}},
	}
	csr["kind"], csr["apiVersion"] = "CertificateSigningRequest", "certificates.k8s.io/v1"
	writeJSON(w, 201, s.put("csrs", fmt.Sprint(meta["name"]), csr))
}
