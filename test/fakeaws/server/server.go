// Package server is the stand-in for the AWS services and the Kubernetes API that nodeadm, kubelet and the agent talk to in
// the lab. It owns the two listeners, the small object store behind them, the record of calls, and the faults that a test may
// switch on. It is no model of AWS or Kubernetes beyond what those three ask, and it knows nothing of the product's packages.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options say which invented cluster and account the stand-in shows.
type Options struct {
	// KubeListen and AWSListen are host:port of the Kubernetes API (TLS) and of the AWS services (plain HTTP); port 0 picks one.
	KubeListen, AWSListen string
	// Endpoint is the API server address that DescribeCluster names; empty means https:// and the address really listened on.
	Endpoint string
	// EndpointCA is the PEM certificate authority that DescribeCluster names with it; empty means the stand-in's own.
	EndpointCA []byte
	// ArtifactDir is served below /artifacts/ of the AWS listener; empty serves none.
	ArtifactDir string
	// PKIDir keeps the CA and the server certificate between starts; empty keeps them in memory only.
	PKIDir string
	// Cluster, Region and Version describe the cluster; Version is major.minor as EKS reports it.
	Cluster, Region, Version string
	// ServiceCIDR, RemoteNodeCIDRs and RemotePodCIDRs are the cluster's networks.
	ServiceCIDR                     string
	RemoteNodeCIDRs, RemotePodCIDRs []string
	// Grace is how long a Node stays Ready after the last heartbeat from its own address; zero means 5 s.
	Grace time.Duration
	// AccessRoles are role ARNs with an access entry besides those of roles that created a session here.
	AccessRoles []string
}

func (o Options) withDefaults() Options {
	set := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	set(&o.KubeListen, "127.0.0.1:0")
	set(&o.AWSListen, "127.0.0.1:0")
	set(&o.Cluster, "lab")
	set(&o.Region, "us-west-2")
	set(&o.Version, "1.31")
	set(&o.ServiceCIDR, "172.20.0.0/16")
	if o.Grace == 0 {
		o.Grace = 5 * time.Second
	}
	if len(o.AccessRoles) == 0 {
		o.AccessRoles = []string{"arn:aws:iam::111122223333:role/hybrid"}
	}
	return o
}

// Server is one running stand-in. Its methods may be called from any goroutine.
type Server struct {
	opt   Options
	pki   *pki
	calls callLog

	mu       sync.Mutex
	cluster  string // its Kubernetes version
	faults   Faults
	faultSet chan struct{} // closed and replaced when faults change, so that hanging requests look again
	sessions map[string]session
	// instances are the machines registered with SSM: activation by mi- ID.
	instances map[string]string
	objects   map[string]map[string]object
	version   int
	beats     map[string]*beat

	awsSrv  *http.Server
	awsAddr string

	kubeMu   sync.Mutex
	kubeSrv  *http.Server
	kubeAddr string
	stop     context.CancelFunc
	stopped  context.Context
}

// New makes the certificates and starts both listeners. Close ends them.
func New(opt Options) (*Server, error) {
	s := &Server{
		opt: opt.withDefaults(), cluster: opt.withDefaults().Version, faultSet: make(chan struct{}), sessions: map[string]session{}, instances: map[string]string{},
		objects: map[string]map[string]object{}, beats: map[string]*beat{},
	}
	s.stopped, s.stop = context.WithCancel(context.Background())
	var err error
	if s.pki, err = loadPKI(s.opt.PKIDir, hostOf(s.opt.KubeListen)); err != nil {
		return nil, err
	}
	if err := s.listenAWS(); err != nil {
		return nil, err
	}
	s.kubeAddr = s.opt.KubeListen
	if err := s.startKube(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Server) listenAWS() error {
	handler, err := s.awsHandler()
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", s.opt.AWSListen)
	if err != nil {
		return fmt.Errorf("cannot listen for the AWS services on %s: %w", s.opt.AWSListen, err)
	}
	s.awsAddr = l.Addr().String()
	s.awsSrv = &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go s.awsSrv.Serve(l)
	return nil
}

// startKube opens the Kubernetes listener; a second start uses the port of the first.
func (s *Server) startKube() error {
	s.kubeMu.Lock()
	defer s.kubeMu.Unlock()
	if s.kubeSrv != nil {
		return nil
	}
	l, err := net.Listen("tcp", s.kubeAddr)
	if err != nil {
		return fmt.Errorf("cannot listen for the Kubernetes API on %s: %w", s.kubeAddr, err)
	}
	s.kubeAddr = l.Addr().String()
	s.kubeSrv = &http.Server{
		Handler: s.kubeHandler(), ReadHeaderTimeout: 10 * time.Second, ErrorLog: discardLog(),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{s.pki.server}, NextProtos: []string{"h2", "http/1.1"}},
	}
	go s.kubeSrv.ServeTLS(l, "", "")
	return nil
}

func (s *Server) stopKube() {
	s.kubeMu.Lock()
	defer s.kubeMu.Unlock()
	if s.kubeSrv != nil {
		s.kubeSrv.Close()
		s.kubeSrv = nil
	}
}

// Close ends both listeners and every request in progress.
func (s *Server) Close() error {
	s.stop()
	s.stopKube()
	if err := s.awsSrv.Close(); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// AWSURL is the base URL of the AWS services: what AWS_ENDPOINT_URL should hold.
func (s *Server) AWSURL() string { return "http://" + s.awsAddr }

// KubeAddr is host:port of the Kubernetes API.
func (s *Server) KubeAddr() string {
	s.kubeMu.Lock()
	defer s.kubeMu.Unlock()
	return s.kubeAddr
}

// Endpoint is the API server URL that DescribeCluster names.
func (s *Server) Endpoint() string {
	if s.opt.Endpoint != "" {
		return s.opt.Endpoint
	}
	return strings.TrimSuffix("https://"+s.KubeAddr(), ":443")
}

// SetClusterVersion changes the cluster's Kubernetes version, major.minor, as an EKS upgrade of the control plane does.
func (s *Server) SetClusterVersion(version string) error {
	major, minor, ok := strings.Cut(version, ".")
	if _, err := strconv.Atoi(major + minor); err != nil || !ok {
		return fmt.Errorf("cannot set the cluster version %q: it must be major.minor", version)
	}
	s.mu.Lock()
	s.cluster = version
	s.mu.Unlock()
	return nil
}

// ClusterVersion is the cluster's Kubernetes version, major.minor.
func (s *Server) ClusterVersion() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cluster
}

// CA is the PEM certificate that signed the Kubernetes API's own.
func (s *Server) CA() []byte { return s.pki.caPEM }

// endpointCA is what DescribeCluster names.
func (s *Server) endpointCA() []byte {
	if len(s.opt.EndpointCA) > 0 {
		return s.opt.EndpointCA
	}
	return s.pki.caPEM
}

func hostOf(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return host
}
