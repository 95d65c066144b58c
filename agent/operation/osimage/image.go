package osimage

import (
	"fmt"
	"strings"
)

// Ref is an image as an operation names it.
type Ref struct {
	// URI with its tag, for example registry.example/ubuntu:nodeadm-1.31.5-v1.2.3.
	URI string `json:"uri"`
	// Digest that the plane signed, sha256:<64 hex>.
	Digest string `json:"digest"`
}

// Pinned is the reference that tools are given: by digest and without the tag. A
// tag may be moved, and containers/image, which bootc uses, refuses a reference
// that has both (docker/reference: "Docker references with both a tag and digest
// are currently not supported").
func (r Ref) Pinned() string {
	name, _, _ := strings.Cut(r.URI, "@")
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, '/') {
		name = name[:colon]
	}
	return name + "@" + r.Digest
}

// String is the reference for people.
func (r Ref) String() string {
	if r.URI == "" {
		return r.Digest
	}
	name, _, _ := strings.Cut(r.URI, "@")
	return name + "@" + r.Digest
}

// Image is an image on the host.
type Image struct {
	// Name as the host knows it: a reference, or what the image calls itself; empty:
	// not known.
	Name string `json:"name"`
	// Digest is empty where nothing on the host tells it.
	Digest string `json:"digest"`
	// ID is what tells this image from others on this host: a filesystem UUID
	// (kairos) or an image digest (bootc). Empty: there is no image.
	ID string `json:"id"`
}

// Is reports whether it is the image that was asked for. With an index of several
// architectures bootc reports the digest of the one that it took, but keeps the
// reference that it was given.
func (i Image) Is(ref Ref) bool {
	return i.ID != "" && ref.Digest != "" && (i.Digest == ref.Digest || strings.HasSuffix(i.Name, "@"+ref.Digest))
}

// Same reports whether both are the same image of this host.
func (i Image) Same(other Image) bool { return i.ID != "" && i.ID == other.ID }

// String names the image for people.
func (i Image) String() string {
	switch {
	case i.ID == "":
		return "no image"
	case i.Name != "" && i.Digest != "" && !strings.Contains(i.Name, i.Digest):
		return i.Name + "@" + i.Digest
	case i.Name != "":
		return i.Name
	}
	return fmt.Sprintf("an image without a name (%s)", i.ID)
}
