package server

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
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

// csrRoutes take a kubelet's serving request and approve and sign it at once, unless the fault csr says pending.
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

func requestOf(csr object) (*x509.CertificateRequest, error) {
	raw, err := base64.StdEncoding.DecodeString(fmt.Sprint(field(csr, "spec.request")))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, errors.New("PEM block type must be CERTIFICATE REQUEST")
	}
	req, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, err
	}
	return req, req.CheckSignature()
}

func (s *Server) createCSR(w http.ResponseWriter, r *http.Request, who identity) {
	csr, ok := readObject(w, r)
	if !ok {
		return
	}
	req, err := requestOf(csr)
	if err != nil {
		kubeStatus(w, 422, "Invalid", "spec.request: "+err.Error())
		return
	}
	meta := child(csr, "metadata")
	if meta["name"] == nil {
		s.mu.Lock()
		meta["name"] = fmt.Sprintf("%vstandin%d", orEmpty(meta["generateName"]), s.version+1)
		s.mu.Unlock()
	}
	child(csr, "spec")["username"] = who.user
	csr["status"] = object{}
	csr["kind"], csr["apiVersion"] = "CertificateSigningRequest", "certificates.k8s.io/v1"
	if s.fault().CSR != "pending" {
		if err := s.approve(csr, req); err != nil {
			kubeStatus(w, 500, "InternalError", err.Error())
			return
		}
	}
	writeJSON(w, 201, s.put("csrs", fmt.Sprint(meta["name"]), csr))
}

func (s *Server) approve(csr object, req *x509.CertificateRequest) error {
	signed, err := s.pki.signRequest(req)
	if err != nil {
		return err
	}
	csr["status"] = object{
		"certificate": base64.StdEncoding.EncodeToString(signed),
		"conditions":  []any{object{"type": "Approved", "status": "True", "reason": "StandIn", "message": "approved at once by the stand-in"}},
	}
	return nil
}

// approvePending signs what was left pending.
func (s *Server) approvePending() error {
	for _, item := range s.list("csrs", "") {
		csr := item.(object)
		req, err := requestOf(csr)
		if err != nil || field(csr, "status.certificate") != nil {
			continue
		}
		if err := s.approve(csr, req); err != nil {
			return err
		}
		s.put("csrs", fmt.Sprint(field(csr, "metadata.name")), csr)
	}
	return nil
}
