package plane

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"hybridagent/plane/api"
	"hybridagent/plane/ca"
	"hybridagent/plane/fleet"
	"hybridagent/plane/ospack"
	"hybridagent/plane/rollout"
	"hybridagent/plane/store"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// stopTimeout is how long open calls may take to end.
const stopTimeout = 3 * time.Second

// Config is what a plane needs.
type Config struct {
	// DataDir holds everything that must survive; see package store.
	DataDir string
	// Listener to serve on; nil: Listen is opened. Close is the plane's.
	Listener net.Listener
	// Listen is host:port to serve on.
	Listen string
	// Advertise are host:port under which hosts and operators reach the plane;
	// their hosts go into the server's certificate. The first goes into the
	// context file. Empty: the listener's address.
	Advertise []string
	// Version told to hosts.
	Version string
	// Log of the plane.
	Log *zap.Logger
	// UnsafeNoFsync trades durability for speed; for tests only.
	UnsafeNoFsync bool
	// Now is the plane's clock; nil: time.Now.
	Now func() time.Time
	// ResolveImage answers the digest that an image's tag has; nil: ospack.Resolve,
	// which asks its registry.
	ResolveImage func(ctx context.Context, image string) (string, error)
	// Ready is called once the plane serves; may be nil.
	Ready func(Info)
}

// Info says how to reach a plane that serves.
type Info struct {
	// Listen is the address that the listener got.
	Listen string
	// Address is the first of Config.Advertise.
	Address string
	// CAPin for the hosts' configuration.
	CAPin string
	// CAPEM is the CA's certificate.
	CAPEM []byte
	// ContextFile of the first operator.
	ContextFile string
}

// Run serves until the context ends, and then answers nil once everything is
// written and closed.
func Run(ctx context.Context, cfg Config) (err error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.ResolveImage == nil {
		cfg.ResolveImage = ospack.Resolve
	}
	lis, err := listen(ctx, &cfg)
	if err != nil {
		return err
	}
	defer func() { _ = lis.Close() }()
	st, err := store.Open(ctx, store.Options{Dir: cfg.DataDir, UnsafeNoFsync: cfg.UnsafeNoFsync, Log: cfg.Log.Named("etcd")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	authority, err := ca.Load(ctx, st, cfg.Now)
	if err != nil {
		return err
	}
	hosts, err := fleet.New(ctx, fleet.Config{Store: st, CA: authority, Version: cfg.Version, Now: cfg.Now, Log: cfg.Log.Named("fleet")})
	if err != nil {
		return err
	}
	ops, err := rollout.New(ctx, rollout.Config{
		Store: st, Signer: authority, Hosts: hosts, ResolveImage: cfg.ResolveImage, Now: cfg.Now, Log: cfg.Log.Named("rollout"),
	})
	if err != nil {
		return err
	}
	srv, err := newServer(cfg, st, authority, hosts, ops)
	if err != nil {
		return err
	}
	info, err := introduce(cfg, lis, authority)
	if err != nil {
		return err
	}
	watch := func(ctx context.Context) { watchContext(ctx, info, authority, cfg.Now, cfg.Log) }
	return serve(ctx, cfg, srv, lis, st, info, hosts, ops, watch)
}

// listen opens the listener. TCP keepalive is off: HTTP/2 keepalive sees more
// and a host that sleeps on a metered link is not woken twice.
func listen(ctx context.Context, cfg *Config) (net.Listener, error) {
	lis := cfg.Listener
	if lis == nil {
		var err error
		lc := net.ListenConfig{KeepAlive: -1, KeepAliveConfig: net.KeepAliveConfig{Enable: false}}
		if lis, err = lc.Listen(ctx, "tcp", cfg.Listen); err != nil {
			return nil, fmt.Errorf("cannot listen on %s: %w", cfg.Listen, err)
		}
	}
	if len(cfg.Advertise) == 0 {
		cfg.Advertise = []string{lis.Addr().String()}
	}
	return lis, nil
}

func newServer(cfg Config, st *store.Store, authority *ca.Authority, hosts *fleet.Fleet, ops *rollout.Controller) (*grpc.Server, error) {
	names, err := serverNames(cfg.Advertise)
	if err != nil {
		return nil, err
	}
	var tlsConfig *tls.Config
	if tlsConfig, err = authority.ServerConfig(names); err != nil {
		return nil, err
	}
	srv := grpc.NewServer(serverOptions(tlsConfig)...)
	agentv1.RegisterEnrollmentServiceServer(srv, hosts)
	agentv1.RegisterAgentServiceServer(srv, hosts)
	planev1.RegisterPlaneServiceServer(srv, api.New(api.Config{
		Store: st, Fleet: hosts, Operations: ops, CA: authority, Now: cfg.Now, Log: cfg.Log.Named("api"),
	}))
	return srv, nil
}

func serve(ctx context.Context, cfg Config, srv *grpc.Server, lis net.Listener, st *store.Store, info Info, hosts *fleet.Fleet, ops *rollout.Controller, watch func(context.Context)) error {
	// The fleet outlives the server, so that the last reports are written.
	fleetCtx, stopFleet := context.WithCancel(context.WithoutCancel(ctx))
	defer stopFleet()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return hosts.Run(fleetCtx) })
	g.Go(func() error { return ops.Run(ctx) })
	g.Go(func() error {
		watch(ctx)
		return nil
	})
	g.Go(func() error {
		// A plane that is told to stop before it serves was not kept from serving.
		if err := srv.Serve(lis); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			return fmt.Errorf("cannot serve on %s: %w", info.Listen, err)
		}
		return nil
	})
	g.Go(func() error {
		select {
		case err := <-st.Failed():
			return fmt.Errorf("etcd failed: %w", err)
		case <-ctx.Done():
			return nil
		}
	})
	g.Go(func() error {
		<-ctx.Done()
		hosts.Close()
		stop(srv)
		stopFleet()
		return nil
	})
	cfg.Log.Info("plane serves", zap.String("listen", info.Listen), zap.Strings("advertise", cfg.Advertise), zap.String("ca_pin", info.CAPin))
	if cfg.Ready != nil {
		cfg.Ready(info)
	}
	return g.Wait()
}

// stop lets open calls end, but not for ever.
func stop(srv *grpc.Server) {
	timer := time.AfterFunc(stopTimeout, srv.Stop)
	defer timer.Stop()
	srv.GracefulStop()
}

// introduce writes what operators need.
func introduce(cfg Config, lis net.Listener, authority *ca.Authority) (Info, error) {
	info := Info{
		Listen: lis.Addr().String(), Address: cfg.Advertise[0], CAPin: authority.Pin(), CAPEM: authority.CertificatePEM(),
		ContextFile: contextPath(cfg.DataDir),
	}
	caFile := filepath.Join(cfg.DataDir, "ca.pem")
	if err := renameio.WriteFile(caFile, info.CAPEM, 0o644); err != nil {
		return info, fmt.Errorf("cannot write %s: %w", caFile, err)
	}
	return info, keepContext(info, authority, cfg.Now(), cfg.Log)
}
