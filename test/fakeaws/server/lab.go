package server

import (
	"encoding/json"
	"io"
	"net/http"
)

// labHandler is the lab's own door: what the stand-in saw, and what it should do.
func (s *Server) labHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /lab/nodes", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, s.Nodes()) })
	mux.HandleFunc("GET /lab/calls", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, s.Calls()) })
	mux.HandleFunc("GET /lab/pods", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, s.list("pods", "")) })
	mux.HandleFunc("GET /lab/instances", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, s.Instances()) })
	mux.HandleFunc("GET /lab/faults", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, s.fault()) })
	mux.HandleFunc("POST /lab/faults", func(w http.ResponseWriter, r *http.Request) {
		var f Faults
		if err := strictly(r, &f); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if err := s.SetFaults(f); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		writeJSON(w, 200, f)
	})
	mux.HandleFunc("POST /lab/pods", labList(s.SetPods))
	mux.HandleFunc("POST /lab/pdbs", labList(s.SetPDBs))
	mux.HandleFunc("POST /lab/cluster", func(w http.ResponseWriter, r *http.Request) {
		var c struct {
			Version string `json:"version"`
		}
		err := strictly(r, &c)
		if err == nil {
			err = s.SetClusterVersion(c.Version)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		writeJSON(w, 200, c)
	})
	return mux
}

func strictly(r *http.Request, into any) error {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	return dec.Decode(into)
}

func labList(set func([]byte) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(io.LimitReader(r.Body, 64<<20))
		if err == nil {
			err = set(raw)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}
