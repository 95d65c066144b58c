package server

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// LabAdminToken is a bearer token with all rights on the Kubernetes API, for whoever looks around in the lab.
const LabAdminToken = "lab-admin"

const tokenPrefix = "k8s-aws-v1."

// object is one Kubernetes object as its JSON.
type object = map[string]any

// identity is who a request acts as: node is set for a node's own credentials and limits what it may touch.
type identity struct {
	user string
	node string
}

type handler func(w http.ResponseWriter, r *http.Request, who identity)

func (s *Server) kubeHandler() http.Handler {
	mux := http.NewServeMux()
	s.publicRoutes(mux)
	add := func(pattern string, h handler) { mux.HandleFunc(pattern, s.authenticated(h)) }
	add("GET /api/v1/namespaces/default/endpoints/kubernetes", s.endpointsKubernetes)
	s.nodeRoutes(add)
	s.podRoutes(add)
	s.pdbRoutes(add)
	s.leaseRoutes(add)
	s.csrRoutes(add)
	add("POST /api/v1/namespaces/{ns}/events", echo)
	add("POST /apis/events.k8s.io/v1/namespaces/{ns}/events", echo)
	add("/", func(w http.ResponseWriter, r *http.Request, _ identity) {
		kubeStatus(w, 404, "NotFound", "the server could not find the requested resource "+r.Method+" "+r.URL.Path)
	})
	return s.record("kube-apiserver", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.hangWhile(r, func(f Faults) string { return f.KubeAPI }) {
			mux.ServeHTTP(w, r)
		}
	}))
}

func (s *Server) publicRoutes(mux *http.ServeMux) {
	for _, path := range []string{"/healthz", "/livez", "/readyz"} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
	}
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		version := s.ClusterVersion()
		major, minor, _ := strings.Cut(version, ".")
		writeJSON(w, 200, map[string]string{
			"major": major, "minor": minor, "gitVersion": "v" + version + ".0-eks-standin", "platform": "linux/amd64",
		})
	})
}

// authenticated answers 401 without a bearer token that it knows.
func (s *Server) authenticated(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		switch {
		case ok && token == LabAdminToken:
			h(w, r, identity{user: LabAdminToken})
		case ok && strings.HasPrefix(token, tokenPrefix):
			h(w, r, identityOf(token))
		default:
			kubeStatus(w, 401, "Unauthorized", "Unauthorized")
		}
	}
}

// identityOf reads the session name that the authenticator stand-in puts into the presigned URL inside the token. A token
// without one (a recorded stub) acts as an unnamed node without limits.
func identityOf(token string) identity {
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, tokenPrefix))
	if err != nil {
		return identity{user: "system:node:unnamed"}
	}
	u, err := url.Parse(string(raw))
	if err != nil || u.Query().Get("X-Lab-Session") == "" {
		return identity{user: "system:node:unnamed"}
	}
	name := u.Query().Get("X-Lab-Session")
	return identity{user: "system:node:" + name, node: name}
}

// mayTouch refuses another node's object, as node authorization does.
func mayTouch(w http.ResponseWriter, who identity, name string) bool {
	if who.node == "" || who.node == name {
		return true
	}
	kubeStatus(w, 403, "Forbidden", fmt.Sprintf("nodes %q is forbidden: node %q is not allowed to access node %q", name, who.node, name))
	return false
}

func (s *Server) endpointsKubernetes(w http.ResponseWriter, _ *http.Request, _ identity) {
	writeJSON(w, 200, object{
		"kind": "Endpoints", "apiVersion": "v1", "metadata": object{"name": "kubernetes", "namespace": "default"},
		"subsets": []any{object{
			"addresses": []any{object{"ip": hostOf(s.KubeAddr())}}, "ports": []any{object{"name": "https", "port": 443, "protocol": "TCP"}},
		}},
	})
}

func echo(w http.ResponseWriter, r *http.Request, _ identity) {
	if obj, ok := readObject(w, r); ok {
		writeJSON(w, 201, obj)
	}
}

func kubeStatus(w http.ResponseWriter, code int, reason, message string) {
	writeJSON(w, code, object{
		"kind": "Status", "apiVersion": "v1", "metadata": object{}, "status": "Failure", "reason": reason, "message": message, "code": code,
	})
}

const maxBody = 3 << 20

// readObject decodes a JSON body; protobuf and CBOR are answered with 415, as a server without them would.
func readObject(w http.ResponseWriter, r *http.Request) (object, bool) {
	if ct := r.Header.Get("Content-Type"); ct != "" && !strings.Contains(ct, "json") {
		kubeStatus(w, 415, "UnsupportedMediaType", "the stand-in reads JSON only, not "+ct)
		return nil, false
	}
	var obj object
	if err := json.NewDecoder(io.LimitReader(r.Body, maxBody)).Decode(&obj); err != nil {
		kubeStatus(w, 400, "BadRequest", "cannot read the body: "+err.Error())
		return nil, false
	}
	return obj, true
}
