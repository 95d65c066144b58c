package server

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// session is what a Roles Anywhere CreateSession handed out.
type session struct {
	role, name string
}

func (s *Server) awsHandler() (http.Handler, error) {
	mux := http.NewServeMux()
	if err := s.registryRoutes(mux); err != nil {
		return nil, err
	}
	mux.Handle("/lab/", s.labHandler())
	mux.Handle("GET /artifacts/", s.record("artifacts", http.HandlerFunc(s.artifact)))
	mux.Handle("GET /clusters/{name}", s.record("aws", http.HandlerFunc(s.describeCluster)))
	mux.Handle("GET /clusters/{name}/access-entries", s.record("aws", http.HandlerFunc(s.accessEntries)))
	mux.Handle("POST /sessions", s.record("aws", http.HandlerFunc(s.createSession)))
	mux.Handle("POST /{$}", s.record("aws", http.HandlerFunc(s.queryOrTarget)))
	mux.Handle("/", s.record("aws", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		awsError(w, 404, "UnknownOperationException", "this stand-in knows no "+r.Method+" "+r.URL.Path)
	})))
	return mux, nil
}

func awsError(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("X-Amzn-ErrorType", code)
	writeJSON(w, status, map[string]string{"__type": code, "message": message})
}

func (s *Server) describeCluster(w http.ResponseWriter, r *http.Request) {
	if !s.hangWhile(r, func(f Faults) string { return f.DescribeCluster }) {
		return
	}
	if s.fault().DescribeCluster == "down" {
		cut(w)
		return
	}
	if name := r.PathValue("name"); name != s.opt.Cluster {
		awsError(w, 404, "ResourceNotFoundException", "No cluster found for name: "+name+".")
		return
	}
	networks := func(cidrs []string) []map[string][]string { return []map[string][]string{{"cidrs": cidrs}} }
	writeJSON(w, 200, map[string]any{"cluster": map[string]any{
		"name": s.opt.Cluster, "version": s.ClusterVersion(), "status": "ACTIVE", "endpoint": s.Endpoint(),
		"arn":                     fmt.Sprintf("arn:aws:eks:%s:111122223333:cluster/%s", s.opt.Region, s.opt.Cluster),
		"certificateAuthority":    map[string]string{"data": base64.StdEncoding.EncodeToString(s.endpointCA())},
		"kubernetesNetworkConfig": map[string]string{"serviceIpv4Cidr": s.opt.ServiceCIDR, "ipFamily": "ipv4"},
		"accessConfig":            map[string]string{"authenticationMode": "API_AND_CONFIG_MAP"},
		"remoteNetworkConfig": map[string]any{
			"remoteNodeNetworks": networks(s.opt.RemoteNodeCIDRs), "remotePodNetworks": networks(s.opt.RemotePodCIDRs),
		},
	}})
}

func (s *Server) accessEntries(w http.ResponseWriter, _ *http.Request) {
	roles := append([]string{}, s.opt.AccessRoles...)
	s.mu.Lock()
	for _, sess := range s.sessions {
		if !contains(roles, sess.role) {
			roles = append(roles, sess.role)
		}
	}
	s.mu.Unlock()
	writeJSON(w, 200, map[string]any{"accessEntries": roles})
}

// queryOrTarget serves the two protocols that share the root path: STS by form action, ECR by target header.
func (s *Server) queryOrTarget(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Header.Get("X-Amz-Target") == "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken":
		s.ecrToken(w)
	case strings.HasPrefix(r.Header.Get("X-Amz-Target"), "AmazonSSM."):
		s.ssm(w, r)
	case r.PostFormValue("Action") == "GetCallerIdentity":
		s.callerIdentity(w, r)
	default:
		awsError(w, 400, "UnknownOperationException", "this stand-in knows GetCallerIdentity, GetAuthorizationToken and four operations of AmazonSSM only")
	}
}

func (s *Server) ecrToken(w http.ResponseWriter) {
	if s.fault().ECR == "denied" {
		awsError(w, 400, "AccessDeniedException", "User is not authorized to perform: ecr:GetAuthorizationToken")
		return
	}
	writeJSON(w, 200, map[string]any{"authorizationData": []map[string]any{{
		"authorizationToken": base64.StdEncoding.EncodeToString([]byte("AWS:lab")),
		"expiresAt":          time.Now().Add(12 * time.Hour).Unix(),
		"proxyEndpoint":      fmt.Sprintf("https://602401143452.dkr.ecr.%s.amazonaws.com", s.opt.Region),
	}}})
}

func (s *Server) callerIdentity(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/xml")
	if s.fault().STS == "denied" {
		w.WriteHeader(403)
		io.WriteString(w, `<ErrorResponse><Error><Type>Sender</Type><Code>ExpiredToken</Code><Message>The security token included in the request is expired</Message></Error></ErrorResponse>`)
		return
	}
	role, name := "hybrid", "lab"
	if sess, ok := s.sessionOf(r.Header.Get("Authorization")); ok {
		role, name = sess.role[strings.LastIndex(sess.role, "/")+1:], sess.name
	}
	w.WriteHeader(200)
	fmt.Fprintf(w, `<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:sts::111122223333:assumed-role/%s/%s</Arn>`+
		`<UserId>AROALAB:%s</UserId><Account>111122223333</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`, role, name, name)
}

func (s *Server) sessionOf(authorization string) (session, bool) {
	m := regexp.MustCompile(`Credential=([A-Z0-9]+)/`).FindStringSubmatch(authorization)
	if m == nil {
		return session{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sess, ok := s.sessions[m[1]]
	return sess, ok
}

// createSession gives credentials for a machine certificate. The request's signature is not checked: the certificate must
// be readable, in its validity period, and the role named.
func (s *Server) createSession(w http.ResponseWriter, r *http.Request) {
	var req struct {
		RoleArn         string `json:"roleArn"`
		RoleSessionName string `json:"roleSessionName"`
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, 64<<10)).Decode(&req); err != nil || req.RoleArn == "" {
		awsError(w, 400, "ValidationException", "roleArn is missing")
		return
	}
	der, err := base64.StdEncoding.DecodeString(r.Header.Get("X-Amz-X509"))
	if err != nil {
		awsError(w, 403, "AccessDeniedException", "Untrusted certificate. X-Amz-X509 is not base64")
		return
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil || time.Now().After(cert.NotAfter) || time.Now().Before(cert.NotBefore) {
		awsError(w, 403, "AccessDeniedException", "Untrusted certificate. Insufficient certificate")
		return
	}
	s.mu.Lock()
	key := fmt.Sprintf("ASIALAB%09d", len(s.sessions)+1)
	s.sessions[key] = session{role: req.RoleArn, name: req.RoleSessionName}
	s.mu.Unlock()
	writeJSON(w, 201, map[string]any{"credentialSet": []any{map[string]any{"credentials": map[string]string{
		"accessKeyId": key, "secretAccessKey": "s", "sessionToken": "t",
		"expiration": time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
	}}}})
}

// artifact serves a file below the artifact folder, with the faults that a download can meet.
func (s *Server) artifact(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/artifacts/")
	fault := s.fault().Artifacts
	if s.opt.ArtifactDir == "" || fault == "404" || !filepath.IsLocal(name) {
		http.NotFound(w, r)
		return
	}
	path := filepath.Join(s.opt.ArtifactDir, name)
	switch {
	case fault == "badsum" && strings.HasSuffix(name, ".sha256"):
		fmt.Fprintf(w, "%s  %s\n", strings.Repeat("0", 64), strings.TrimSuffix(filepath.Base(name), ".sha256"))
	case fault == "stall" && filepath.Base(name) == "kubelet":
		s.stall(w, r, path)
	default:
		http.ServeFile(w, r, path)
	}
}

func (s *Server) stall(w http.ResponseWriter, r *http.Request, path string) {
	data, err := os.ReadFile(path)
	if err != nil || len(data) < 40 {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	w.Write(data[:40])
	http.NewResponseController(w).Flush()
	select {
	case <-r.Context().Done():
	case <-s.stopped.Done():
	}
}

// cut ends the connection without an answer.
func cut(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		conn.Close()
	}
}
