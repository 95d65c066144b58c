package server

import (
	"bufio"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
)

// Call is one request that reached the stand-in, in order of arrival.
type Call struct {
	// Service is artifacts, aws or kube-apiserver.
	Service string `json:"service"`
	// Client is who asked, from the User-Agent: aws-sdk-go-v2, nodeadm, kubelet, or its first word.
	Client string `json:"client"`
	Method string `json:"method"`
	Path   string `json:"path"`
	Status int    `json:"status"`
	// Action is the query-protocol action (STS), Target the X-Amz-Target header (ECR).
	Action string `json:"action,omitempty"`
	Target string `json:"x_amz_target,omitempty"`
	// Peer is the address the connection came from.
	Peer string `json:"peer"`
}

const maxCalls = 20000

// callLog keeps the latest calls; beyond maxCalls the older half is dropped.
type callLog struct {
	mu    sync.Mutex
	calls []*Call
}

func (l *callLog) add(c *Call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.calls) >= maxCalls {
		l.calls = append(l.calls[:0], l.calls[maxCalls/2:]...)
	}
	l.calls = append(l.calls, c)
}

func (l *callLog) setStatus(c *Call, status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.Status = status
}

// Calls returns what was asked so far; Status is 0 where the answer has not begun.
func (s *Server) Calls() []Call {
	s.calls.mu.Lock()
	defer s.calls.mu.Unlock()
	out := make([]Call, 0, len(s.calls.calls))
	for _, c := range s.calls.calls {
		out = append(out, *c)
	}
	return out
}

// ResetCalls forgets the calls so far.
func (s *Server) ResetCalls() {
	s.calls.mu.Lock()
	defer s.calls.mu.Unlock()
	s.calls.calls = nil
}

// record notes the request before next serves it, so that a hanging request is seen as well.
func (s *Server) record(service string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &Call{
			Service: service, Client: clientOf(r.UserAgent()), Method: r.Method, Path: r.URL.Path,
			Target: r.Header.Get("X-Amz-Target"), Peer: hostOf(r.RemoteAddr),
		}
		if r.Method == http.MethodPost && strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
			c.Action = r.PostFormValue("Action")
		}
		s.calls.add(c)
		next.ServeHTTP(&statusWriter{ResponseWriter: w, log: &s.calls, call: c}, r)
	})
}

type statusWriter struct {
	http.ResponseWriter
	log  *callLog
	call *Call
}

func (w *statusWriter) WriteHeader(status int) {
	w.log.setStatus(w.call, status)
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	if w.call.Status == 0 {
		w.log.setStatus(w.call, http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *statusWriter) Flush() { http.NewResponseController(w.ResponseWriter).Flush() }

func (w *statusWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

func clientOf(agent string) string {
	for _, known := range []string{"aws-sdk-go-v2", "nodeadm", "kubelet", "aws_signing_helper"} {
		if strings.HasPrefix(agent, known) {
			return known
		}
	}
	name, _, _ := strings.Cut(agent, "/")
	return name
}

func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }
