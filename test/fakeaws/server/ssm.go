package server

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sort"
	"strings"
)

// ssmRole is the role of every activation in the lab.
const ssmRole = "arn:aws:iam::111122223333:role/hybrid"

// Instance is a machine that is registered with Systems Manager.
type Instance struct {
	ID         string `json:"id"`
	Activation string `json:"activation"`
}

// Instances returns the registered machines by ID.
func (s *Server) Instances() []Instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []Instance{}
	for id, activation := range s.instances {
		list = append(list, Instance{id, activation})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].ID < list[j].ID })
	return list
}

// ssm serves the four operations that nodeadm and the agent use. Only the codes ActivationExpired and InvalidActivation are known
// from nodeadm's source; that of a used-up activation, RegistrationLimitExceeded, is a guess.
func (s *Server) ssm(w http.ResponseWriter, r *http.Request) {
	var in struct {
		ActivationId, InstanceId string
		Filters                  []struct{ Values []string }
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, 64<<10)).Decode(&in); err != nil {
		awsError(w, 400, "SerializationException", err.Error())
		return
	}
	switch _, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), "."); operation {
	case "RegisterManagedInstance":
		s.registerInstance(w, in.ActivationId)
	case "RequestManagedInstanceRoleToken":
		s.instanceToken(w, in.InstanceId)
	case "DescribeInstanceInformation":
		found := []map[string]string{}
		for _, f := range in.Filters {
			for _, id := range f.Values {
				if s.managed(id) {
					found = append(found, map[string]string{"InstanceId": id, "PingStatus": "Online"})
				}
			}
		}
		writeJSON(w, 200, map[string]any{"InstanceInformationList": found})
	case "DeregisterManagedInstance":
		s.mu.Lock()
		delete(s.instances, in.InstanceId)
		s.mu.Unlock()
		writeJSON(w, 200, map[string]string{})
	default:
		awsError(w, 400, "UnknownOperationException", "this stand-in knows no "+operation)
	}
}

func (s *Server) managed(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.instances[id]
	return ok
}

func (s *Server) registerInstance(w http.ResponseWriter, activation string) {
	switch s.fault().SSM {
	case "activation-expired":
		awsError(w, 400, "ActivationExpired", "")
		return
	case "activation-wrong":
		awsError(w, 400, "InvalidActivation", "")
		return
	case "activation-used-up":
		awsError(w, 400, "RegistrationLimitExceeded", "Registration limit has been exceeded for this activation")
		return
	}
	s.mu.Lock()
	s.version++
	id := fmt.Sprintf("mi-0%016x", s.version)
	s.instances[id] = activation
	s.mu.Unlock()
	writeJSON(w, 200, map[string]string{"InstanceId": id})
}

func (s *Server) instanceToken(w http.ResponseWriter, id string) {
	if !s.managed(id) {
		awsError(w, 400, "InvalidInstanceId", "Not existing InstanceId "+id)
		return
	}
	s.mu.Lock()
	key := fmt.Sprintf("ASIALAB%09d", len(s.sessions)+1)
	s.sessions[key] = session{role: ssmRole, name: id}
	s.mu.Unlock()
	writeJSON(w, 200, map[string]string{"AccessKeyId": key, "SecretAccessKey": "s", "SessionToken": "t"})
}
