package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"hybridagent/plane/store"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

const identityPrefix = "identity/"

// identity is who a host is; stored as JSON.
type identity struct {
	Schema int `json:"schema"`
	// Keys that certificates of this host may have, as ca.KeyHash, newest
	// first: the one before stays valid until the host uses the new one.
	Keys []string `json:"keys"`
	// Token that the host enrolled with, by name.
	Token string `json:"token"`
	// EnrolledAt tells one enrolment from the next: Unix time in nanoseconds.
	EnrolledAt  int64    `json:"enrolledAt"`
	ProductUUID string   `json:"productUuid,omitempty"`
	MachineID   string   `json:"machineIdHash,omitempty"`
	MACs        []string `json:"macs,omitempty"`
}

// readIdentity answers the zero identity and revision 0 for an unknown host.
func (f *Fleet) readIdentity(ctx context.Context, hostID string) (identity, int64, error) {
	e, err := f.cfg.Store.Get(ctx, identityPrefix+hostID)
	if errors.Is(err, store.ErrNotFound) {
		return identity{}, 0, nil
	}
	if err != nil {
		return identity{}, 0, err
	}
	var id identity
	if err := json.Unmarshal(e.Value, &id); err != nil {
		return identity{}, 0, fmt.Errorf("cannot decode the identity of host %s: %w", hostID, err)
	}
	return id, e.Revision, nil
}

func (id identity) write(hostID string) (store.Write, error) {
	id.Schema = 1
	b, err := json.Marshal(id)
	if err != nil {
		return store.Write{}, fmt.Errorf("cannot encode the identity of host %s: %w", hostID, err)
	}
	return store.Write{Key: identityPrefix + hostID, Value: b}, nil
}

// holds checks that the host is enrolled and that the key is one of its identity,
// as read at a revision.
func (id identity) holds(hostID, key string, revision int64) error {
	switch {
	case revision == 0:
		return wasRemoved(hostID)
	case !slices.Contains(id.Keys, key):
		return status.Errorf(codes.PermissionDenied, "the certificate of host %q was replaced by a newer enrolment; %s", hostID, enrolAgain)
	}
	return nil
}

// sameMachine tells a repaired host from another machine. The product UUID
// decides where both have one, but for a new mainboard with an old NIC; else a
// NIC in common; else the machine ID, which a cloned disk shares.
func (id identity) sameMachine(fp *agentv1.HardwareFingerprint) bool {
	shareNIC := slices.ContainsFunc(fp.GetMacs(), func(mac string) bool { return slices.Contains(id.MACs, mac) })
	switch {
	case shareNIC:
		return true
	case id.ProductUUID != "" && fp.GetProductUuid() != "":
		return id.ProductUUID == fp.GetProductUuid()
	case len(id.MACs) > 0 && len(fp.GetMacs()) > 0:
		return false
	default:
		return id.MachineID == fp.GetMachineIdHash()
	}
}

// learn takes over a fingerprint, and answers whether that changed anything.
func (id *identity) learn(fp *agentv1.HardwareFingerprint) bool {
	macs := slices.Clone(fp.GetMacs())
	if id.ProductUUID == fp.GetProductUuid() && id.MachineID == fp.GetMachineIdHash() && slices.Equal(id.MACs, macs) {
		return false
	}
	id.ProductUUID, id.MachineID, id.MACs = fp.GetProductUuid(), fp.GetMachineIdHash(), macs
	return true
}
