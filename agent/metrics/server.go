package metrics

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
)

// listenRetry is the wait after the address could not be had.
const listenRetry = 30 * time.Second

// Server is the task that answers scrapes on /metrics.
type Server struct {
	log     *zap.Logger
	address string
	handler http.Handler
	ready   chan struct{}
	bound   func(net.Addr)
}

// NewServer returns the task; an empty address makes one that only waits.
func NewServer(log *zap.Logger, address string, source Source) *Server {
	registry := prometheus.NewRegistry()
	registry.MustRegister(newCollector(source), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second}))
	return &Server{log: log, address: address, handler: mux, ready: make(chan struct{}), bound: func(net.Addr) {}}
}

// String names the task.
func (s *Server) String() string { return "metrics" }

// Ready is closed at once: the address may come with the network.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Run serves until ctx ends; then it returns nil. An address that cannot be had
// is told and tried again: routes matter more than metrics.
func (s *Server) Run(ctx context.Context) error {
	close(s.ready)
	if s.address == "" {
		<-ctx.Done()
		return nil
	}
	listener := s.listen(ctx)
	if listener == nil {
		return nil
	}
	s.bound(listener.Addr())
	server := &http.Server{
		Handler: s.handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 15 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("cannot serve metrics on %s: %w", s.address, err)
	}
	return nil
}

// listen returns nil when ctx ended first.
func (s *Server) listen(ctx context.Context) net.Listener {
	for told := false; ; told = true {
		listener, err := (&net.ListenConfig{KeepAlive: -1}).Listen(ctx, "tcp", s.address)
		if err == nil {
			return listener
		}
		if !told {
			s.log.Error("cannot serve metrics; correct metrics.listen in config.yaml", zap.String("address", s.address), zap.Error(err))
		}
		timer := time.NewTimer(listenRetry)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}
