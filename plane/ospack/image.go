package ospack

import (
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// checkImage refuses what is no image, and an image that does not carry the
// Kubernetes layer's version: the node would come up with another than the one
// that was asked for.
func (r *reader) checkImage(pack *Pack, kubernetes string) {
	s := r.sources[0]
	if len(pack.Image) > maxImage {
		r.add(s.line, s.path, "is an image of %d bytes, at most %d are allowed", len(pack.Image), maxImage)
		return
	}
	if _, err := reference(pack.Image); err != nil {
		r.add(s.line, s.path, "comes out as %q, which is no image: %v", cut(pack.Image), err)
		return
	}
	tag := tagOf(pack.Image)
	found := versionIn(tag, pack.Distribution)
	shape := pack.Distribution
	if shape == "" {
		shape = "nodeadm"
	}
	switch {
	case found == "":
		r.add(s.line, s.path, "comes out as %s, whose tag %q does not say which Kubernetes version the image carries; the profile's Kubernetes layer has %s: tag the image %s-%s-…",
			pack.Image, tag, kubernetes, shape, kubernetes)
	case found != kubernetes:
		r.add(s.line, s.path, "comes out as %s, an image with Kubernetes %s, but the profile's Kubernetes layer has %s; build the image for %s, or change the layer's version to %s",
			pack.Image, found, kubernetes, kubernetes, found)
	}
}

// reference parses an image, with the registry written out: hosts have no common
// idea of a default one.
func reference(image string) (name.Reference, error) {
	if strings.Contains(image, "@") {
		return name.NewDigest(image, name.StrictValidation)
	}
	return name.NewTag(image, name.StrictValidation)
}

// tagOf is an image's tag; empty where it has none.
func tagOf(image string) string {
	image, _, _ = strings.Cut(image, "@")
	colon := strings.LastIndexByte(image, ':')
	if colon < strings.LastIndexByte(image, '/') {
		return ""
	}
	return image[colon+1:]
}

// versionIn finds the Kubernetes version in a tag of the shape
// DISTRIBUTION-VERSION-…, as image builds make them. The version has no v there;
// what has one is the version of something else.
func versionIn(tag, distribution string) string {
	lead := `[A-Za-z][A-Za-z0-9_.]*`
	if distribution != "" {
		lead = regexp.QuoteMeta(distribution)
	}
	m := regexp.MustCompile(`(?:^|[-_.])` + lead + `-(\d+\.\d+\.\d+)(?:[-_]|$)`).FindStringSubmatch(tag)
	if m == nil {
		return ""
	}
	return m[1]
}
