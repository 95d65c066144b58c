package server

import (
	"fmt"
	"net/http"
)

// Faults are switched on by tests and by the lab; every empty field means ok.
type Faults struct {
	// DescribeCluster: ok, down (the connection is cut without an answer) or hang.
	DescribeCluster string `json:"describeCluster,omitempty"`
	// ECR and STS: ok or denied.
	ECR string `json:"ecr,omitempty"`
	STS string `json:"sts,omitempty"`
	// KubeAPI: ok, hang (accepts, never answers) or down (refuses connections).
	KubeAPI string `json:"kubeAPI,omitempty"`
	// Artifacts: ok, 404, badsum (every checksum file is wrong) or stall (a kubelet download stops after 40 bytes).
	Artifacts string `json:"artifacts,omitempty"`
	// CSR: ok (kubelet's serving request is approved at once) or pending; a later ok approves what is pending.
	CSR string `json:"csr,omitempty"`
	// SSM: ok, activation-expired, activation-used-up or activation-wrong.
	SSM string `json:"ssm,omitempty"`
}

func (f Faults) check() error {
	allowed := []struct {
		field, value string
		values       []string
	}{
		{"describeCluster", f.DescribeCluster, []string{"", "ok", "down", "hang"}},
		{"ecr", f.ECR, []string{"", "ok", "denied"}},
		{"sts", f.STS, []string{"", "ok", "denied"}},
		{"kubeAPI", f.KubeAPI, []string{"", "ok", "hang", "down"}},
		{"artifacts", f.Artifacts, []string{"", "ok", "404", "badsum", "stall"}},
		{"csr", f.CSR, []string{"", "ok", "pending"}},
		{"ssm", f.SSM, []string{"", "ok", "activation-expired", "activation-used-up", "activation-wrong"}},
	}
	for _, a := range allowed {
		if !contains(a.values, a.value) {
			return fmt.Errorf("cannot set fault %s=%q: allowed are %q", a.field, a.value, a.values[1:])
		}
	}
	return nil
}

func contains(list []string, v string) bool {
	for _, x := range list {
		if x == v {
			return true
		}
	}
	return false
}

// SetFaults replaces the faults in force. Requests that hang look again at once.
func (s *Server) SetFaults(f Faults) error {
	if err := f.check(); err != nil {
		return err
	}
	s.mu.Lock()
	s.faults = f
	close(s.faultSet)
	s.faultSet = make(chan struct{})
	s.mu.Unlock()
	if f.CSR != "pending" {
		if err := s.approvePending(); err != nil {
			return err
		}
	}
	if f.KubeAPI == "down" {
		s.stopKube()
		return nil
	}
	return s.startKube()
}

func (s *Server) fault() Faults {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults
}

// hangWhile blocks while the fault that pick names says hang; false means the client or the server went away meanwhile.
func (s *Server) hangWhile(r *http.Request, pick func(Faults) string) bool {
	for {
		s.mu.Lock()
		hang, changed := pick(s.faults) == "hang", s.faultSet
		s.mu.Unlock()
		if !hang {
			return true
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return false
		case <-s.stopped.Done():
			return false
		}
	}
}
