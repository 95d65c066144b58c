package local

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	grpcpeer "google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
	localv1 "hybridagent/proto/hybrid/local/v1"
)

// access says who may call a method.
type access int

const (
	nobody    access = iota
	groupRead        // root, the daemon's own user, members of the socket's group
	rootActs         // root
)

// accessOf declares the access of every method; one that is not listed is closed.
func accessOf(method string) access {
	switch method {
	case localv1.LocalService_GetStatus_FullMethodName, localv1.LocalService_ListNICs_FullMethodName,
		localv1.LocalService_WatchOperation_FullMethodName, localv1.LocalService_PlanOperation_FullMethodName:
		return groupRead
	case localv1.LocalService_ConfirmNetwork_FullMethodName, localv1.LocalService_RollbackNetwork_FullMethodName,
		localv1.LocalService_RetryNetwork_FullMethodName:
		return rootActs
	}
	return nobody
}

// String says who may.
func (a access) String() string {
	if a == rootActs {
		return "only root may act: call it with sudo"
	}
	return "members of the socket's group may read"
}

// Source answers what the API shows. Its results are not changed afterwards.
type Source interface {
	Status() *localv1.Status
	NICs() []*agentv1.NIC
	// WatchOperation calls send with the progress of an operation until it has
	// ended, or send fails; an empty ID means the one that runs or ran last.
	WatchOperation(ctx context.Context, id string, send func(*agentv1.OperationProgress) error) error
	// PlanOperation answers what an operation to what the plane wants would do; of
	// kind 0 the one that it takes, a provision or a repave.
	PlanOperation(ctx context.Context, kind agentv1.OperationKind) (*agentv1.Forecast, error)
}

// Actor does what root asks for. Its errors are what people see.
type Actor interface {
	// ConfirmNetwork and RollbackNetwork end the trial under way.
	ConfirmNetwork() error
	RollbackNetwork() error
	// RetryNetwork tries once more what was rolled back.
	RetryNetwork() error
}

// Server is the task that serves the API on a listener.
type Server struct {
	localv1.UnimplementedLocalServiceServer
	log      *zap.Logger
	source   Source
	actor    Actor
	listener net.Listener
	group    uint32
	hasGroup bool
	ready    chan struct{}
	// watchers and plans hold one element for each who is served.
	watchers, plans chan struct{}
}

// NewServer takes over the listener; Run closes it.
func NewServer(log *zap.Logger, listener net.Listener, source Source, actor Actor) *Server {
	s := &Server{
		log: log, source: source, actor: actor, listener: limit(listener, maxClients), ready: make(chan struct{}),
		watchers: make(chan struct{}, maxWatchers), plans: make(chan struct{}, maxPlans),
	}
	s.group, s.hasGroup = groupOf(listener)
	return s
}

// String names the task.
func (s *Server) String() string { return "local API" }

// Ready is closed once connections are taken.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Run serves until ctx ends; then it returns nil.
func (s *Server) Run(ctx context.Context) error {
	server := grpc.NewServer(
		grpc.Creds(peerCredentials{}),
		grpc.UnaryInterceptor(s.check), grpc.StreamInterceptor(s.checkStream),
		grpc.MaxRecvMsgSize(64<<10), grpc.MaxConcurrentStreams(8),
		grpc.ConnectionTimeout(5*time.Second),
		grpc.ReadBufferSize(4<<10), grpc.WriteBufferSize(4<<10),
		// A client that is idle, or does not read, gives its place to the next.
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle: time.Minute, MaxConnectionAge: 10 * time.Minute, MaxConnectionAgeGrace: 10 * time.Second,
			Time: time.Minute, Timeout: 10 * time.Second,
		}),
	)
	localv1.RegisterLocalServiceServer(server, s)
	stop := context.AfterFunc(ctx, server.Stop)
	defer stop()
	close(s.ready)
	if err := server.Serve(s.listener); err != nil && ctx.Err() == nil {
		return fmt.Errorf("cannot serve %s: %w", s.listener.Addr(), err)
	}
	return nil
}

// check asks for each call whether its caller may make it.
func (s *Server) check(ctx context.Context, request any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if err := s.mayCall(ctx, info.FullMethod); err != nil {
		return nil, err
	}
	return next(ctx, request)
}

func (s *Server) checkStream(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if err := s.mayCall(stream.Context(), info.FullMethod); err != nil {
		return err
	}
	return next(server, stream)
}

func (s *Server) mayCall(ctx context.Context, method string) error {
	p, _ := grpcpeer.FromContext(ctx)
	who, ok := p.AuthInfo.(peer)
	if !ok {
		return status.Error(codes.Unauthenticated, "cannot tell who calls")
	}
	if !s.allowed(who, accessOf(method)) {
		s.log.Info("refused a local call", zap.String("method", method), zap.Uint32("uid", who.uid), zap.Int32("pid", who.pid))
		return status.Errorf(codes.PermissionDenied, "user %d may not call %s; %s", who.uid, method, accessOf(method))
	}
	return nil
}

func (s *Server) allowed(who peer, needs access) bool {
	switch needs {
	case nobody:
		return false
	case rootActs:
		return who.isRoot()
	}
	return who.isRoot() || who.uid == uint32(os.Geteuid()) || s.hasGroup && who.inGroup(s.group)
}

// GetStatus is part of LocalService.
func (s *Server) GetStatus(context.Context, *localv1.GetStatusRequest) (*localv1.GetStatusResponse, error) {
	return &localv1.GetStatusResponse{Status: s.source.Status()}, nil
}

// ListNICs is part of LocalService.
func (s *Server) ListNICs(context.Context, *localv1.ListNICsRequest) (*localv1.ListNICsResponse, error) {
	return &localv1.ListNICsResponse{Nics: s.source.NICs()}, nil
}
