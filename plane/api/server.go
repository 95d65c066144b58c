package api

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"hybridagent/plane/ca"
	"hybridagent/plane/fleet"
	"hybridagent/plane/kind"
	"hybridagent/plane/rollout"
	"hybridagent/plane/store"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// writeTries bounds the retries of a write that others overtook.
const writeTries = 8

// Operations are those of the hosts, as rollout has them.
type Operations interface {
	// Retry forgets the failure; an error says why there is nothing to retry.
	Retry(ctx context.Context, hostID string, force bool) error
	// Switch signs a live network switch to servers and answers its ID; former are
	// those that the host's pool has for it.
	Switch(ctx context.Context, hostID string, servers, former []string) (string, error)
	// Operation answers where one stands; nil: it is not known.
	Operation(hostID, operationID string) *planev1.OperationStatus
	// NetworkSwitch answers the live network switch that is pending or ended last;
	// nil: there was none.
	NetworkSwitch(hostID string) *planev1.OperationStatus
	// Plan answers what a repave of hosts of a pool would do; none named: all.
	Plan(pool string, hosts []string, force bool) ([]*planev1.RepaveHost, error)
	// Repave starts that.
	Repave(ctx context.Context, pool string, hosts []string, how rollout.Manner) ([]*planev1.RepaveHost, error)
	// Rollout answers how far the repave of a pool is; nil: there was none.
	Rollout(pool string) *planev1.RolloutStatus
	// Abort ends an operation; by names the operator.
	Abort(ctx context.Context, hostID, operationID, by string) (ended string, withdrawn bool, err error)
}

// Config is what a Server needs.
type Config struct {
	// Store of the resources.
	Store *store.Store
	// Fleet that knows the hosts' state.
	Fleet *fleet.Fleet
	// Operations of the hosts.
	Operations Operations
	// CA whose pin goes with a token.
	CA *ca.Authority
	// Now is the plane's clock.
	Now func() time.Time
	// Log of the component.
	Log *zap.Logger
}

// Server serves PlaneService.
type Server struct {
	planev1.UnimplementedPlaneServiceServer
	store *store.Store
	fleet *fleet.Fleet
	ops   Operations
	ca    *ca.Authority
	now   func() time.Time
	log   *zap.Logger
	rules *rules
}

// New makes a Server.
func New(cfg Config) *Server {
	return &Server{store: cfg.Store, fleet: cfg.Fleet, ops: cfg.Operations, ca: cfg.CA, now: cfg.Now, log: cfg.Log, rules: newRules()}
}

// Get answers one resource.
func (s *Server) Get(ctx context.Context, req *planev1.GetRequest) (*planev1.GetResponse, error) {
	if err := checkKind(req.GetKind()); err != nil {
		return nil, err
	}
	w, _, err := s.read(ctx, req.GetKind())
	if err != nil {
		return nil, err
	}
	found := find(w, req.GetKind(), req.GetName())
	if len(found) == 0 {
		return nil, status.Errorf(codes.NotFound, "%s %q does not exist", req.GetKind(), req.GetName())
	}
	return &planev1.GetResponse{Resource: s.present(w, found[len(found)-1])}, nil
}

// List answers every resource of a kind.
func (s *Server) List(ctx context.Context, req *planev1.ListRequest) (*planev1.ListResponse, error) {
	if err := checkKind(req.GetKind()); err != nil {
		return nil, err
	}
	w, _, err := s.read(ctx, req.GetKind())
	if err != nil {
		return nil, err
	}
	resp := &planev1.ListResponse{}
	found := w.kind(req.GetKind())
	if req.GetKind() == kind.Profile {
		sortProfiles(found)
	}
	for _, r := range found {
		resp.Resources = append(resp.Resources, s.present(w, r))
	}
	return resp, nil
}

// find answers the resources of a name; of a profile without version all
// versions, the highest last.
func find(w world, of, name string) []*planev1.Resource {
	if r := w.get(of, name); r != nil {
		return []*planev1.Resource{r}
	}
	if of != kind.Profile || strings.Contains(name, "@") {
		return nil
	}
	var out []*planev1.Resource
	for _, r := range w.kind(of) {
		if r.GetMetadata().GetName() == name {
			out = append(out, r)
		}
	}
	sortProfiles(out)
	return out
}

func checkKind(name string) error {
	if slices.Contains(kind.All(), name) {
		return nil
	}
	return status.Errorf(codes.InvalidArgument, "kind %q is unknown; the kinds are %s", name, strings.Join(kind.All(), ", "))
}

// read answers the resources that refer to one another, those of one kind more
// where it is named, and the guard that a write must hold to be based on them.
// Hosts and tokens may be many, and are read only where they are asked for.
func (s *Server) read(ctx context.Context, also string) (world, store.Guard, error) {
	guard := store.Guard{Key: store.CatalogKey}
	// The guard is read first: a write in between only makes the commit fail.
	e, err := s.store.Get(ctx, store.CatalogKey)
	switch {
	case err == nil:
		guard.Revision = e.Revision
	case !errors.Is(err, store.ErrNotFound):
		return nil, guard, unavailable(err)
	}
	kinds := []string{kind.Cluster, kind.Profile, kind.Pool}
	if also != "" && !slices.Contains(kinds, also) {
		kinds = append(kinds, also)
	}
	w := world{}
	for _, k := range kinds {
		list, _, err := s.store.ListResources(ctx, k)
		if err != nil {
			return nil, guard, unavailable(err)
		}
		for _, r := range list {
			w[store.KeyOf(r)] = r
		}
	}
	return w, guard, nil
}

func unavailable(err error) error {
	return status.Errorf(codes.Unavailable, "the plane cannot reach its store: %v", err)
}

// change runs one write until nobody else was in between.
func (s *Server) change(ctx context.Context, also string, write func(world, store.Guard) error) error {
	for range writeTries {
		w, guard, err := s.read(ctx, also)
		if err != nil {
			return err
		}
		err = write(w, guard)
		switch {
		case errors.Is(err, store.ErrConflict):
			continue
		case err == nil:
			return nil
		}
		if _, ok := status.FromError(err); ok {
			return err
		}
		return unavailable(err)
	}
	return status.Error(codes.Aborted, "others write at the same time; try again")
}

// commit writes resources on condition that nothing changed since the guard was
// read.
func (s *Server) commit(ctx context.Context, guard store.Guard, writes ...store.Write) (int64, error) {
	writes = append(writes, store.CatalogWrite(s.now()))
	rev, err := s.store.Commit(ctx, []store.Guard{guard}, writes)
	if err == nil {
		s.fleet.Seen(ctx, rev)
	}
	return rev, err
}
