package store

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// ResourcePrefix precedes the keys of all resources.
const ResourcePrefix = "res/"

// CatalogKey is written with every change of a resource, so that a change is
// checked against the very state that it is added to.
const CatalogKey = "meta/catalog"

const sealedPrefix = "sealed:"

// ResourceKey is the key of a resource by kind and name; a profile's name is
// NAME@VERSION.
func ResourceKey(kind, name string) string { return ResourcePrefix + kind + "/" + name }

// CatalogWrite goes with every change of a resource.
func CatalogWrite(now time.Time) Write {
	return Write{Key: CatalogKey, Value: []byte(now.UTC().Format(time.RFC3339Nano))}
}

// KeyOf is the key of a resource.
func KeyOf(r *planev1.Resource) string {
	name := r.GetMetadata().GetName()
	if p := r.GetHybridProfile(); p != nil {
		name = ProfileName(name, p.GetVersion())
	}
	return ResourceKey(r.GetKind(), name)
}

// ProfileName is the full name of a profile version.
func ProfileName(name, version string) string { return name + "@" + version }

// GetResource reads one resource, secrets decrypted.
func (s *Store) GetResource(ctx context.Context, kind, name string) (*planev1.Resource, error) {
	e, err := s.Get(ctx, ResourceKey(kind, name))
	if err != nil {
		return nil, err
	}
	return s.DecodeResource(e)
}

// ListResources reads all resources of a kind, or of every kind when it is
// empty, as of the revision that it answers.
func (s *Store) ListResources(ctx context.Context, kind string) ([]*planev1.Resource, int64, error) {
	prefix := ResourcePrefix
	if kind != "" {
		prefix += kind + "/"
	}
	entries, rev, err := s.List(ctx, prefix)
	if err != nil {
		return nil, 0, err
	}
	out := make([]*planev1.Resource, 0, len(entries))
	for _, e := range entries {
		r, err := s.DecodeResource(e)
		if err != nil {
			return nil, 0, err
		}
		out = append(out, r)
	}
	return out, rev, nil
}

// DecodeResource decodes a stored resource and decrypts its secrets.
func (s *Store) DecodeResource(e Entry) (*planev1.Resource, error) {
	r := &planev1.Resource{}
	if err := proto.Unmarshal(e.Value, r); err != nil {
		return nil, fmt.Errorf("cannot decode resource %s: %w", e.Key, err)
	}
	if r.Metadata == nil {
		r.Metadata = &planev1.Metadata{}
	}
	r.Metadata.Revision = e.Revision
	for name, field := range SecretFields(r) {
		if *field == "" {
			continue
		}
		sealed, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(*field, sealedPrefix))
		if err != nil {
			return nil, fmt.Errorf("cannot decode secret %s of %s: %w", name, e.Key, err)
		}
		plain, err := s.Unseal(e.Key+"#"+name, sealed)
		if err != nil {
			return nil, err
		}
		*field = string(plain)
	}
	return r, nil
}

// EncodeResource makes the write of a resource, secrets encrypted. Status is
// left out: it is derived, or kept in records of its own.
func (s *Store) EncodeResource(r *planev1.Resource) (Write, error) {
	c := proto.CloneOf(r)
	key := KeyOf(c)
	c.Metadata.Revision = 0
	if c.GetEnrollmentToken() == nil {
		c.Status = nil
	}
	for name, field := range SecretFields(c) {
		if *field == "" {
			continue
		}
		sealed, err := s.Seal(key+"#"+name, []byte(*field))
		if err != nil {
			return Write{}, err
		}
		*field = sealedPrefix + base64.StdEncoding.EncodeToString(sealed)
	}
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(c)
	if err != nil {
		return Write{}, fmt.Errorf("cannot encode resource %s: %w", key, err)
	}
	return Write{Key: key, Value: value}, nil
}

// SecretFields are the secret fields of a resource by their path in the spec.
func SecretFields(r *planev1.Resource) map[string]*string {
	access := r.GetHybridCluster().GetAccessManagement()
	if ssm := access.GetSystemsManager(); ssm != nil {
		return map[string]*string{"accessManagement.systemsManager.activationCode": &ssm.ActivationCode}
	}
	if ra := access.GetIamRolesAnywhere(); ra != nil {
		return map[string]*string{"accessManagement.iamRolesAnywhere.caPrivateKey": &ra.CaPrivateKey}
	}
	return nil
}
