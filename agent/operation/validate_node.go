package operation

import (
	"net/netip"
	"net/url"
	"regexp"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// imageDigestPattern is the form of an OS image's digest.
var imageDigestPattern = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// imagePattern is what an image's name may look like. It becomes an argument of
// kairos-agent or bootc, so it must not begin like an option.
var imagePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,511}$`)

// maxURLBytes bounds NodeadmSource.url.
const maxURLBytes = 2048

// validateRepave checks what a repave carries.
func validateRepave(op *agentv1.Operation) error {
	if err := validateNode(op); err != nil {
		return err
	}
	return validateDrain(op)
}

// validateNode checks the fields of operations that bring a node part about.
func validateNode(op *agentv1.Operation) error {
	subject := "operation " + op.GetId()
	if err := checkNodePart(subject, op.GetNode(), op.GetNodeDigest(), op.GetNodeIp()); err != nil {
		return err
	}
	digest := op.GetOsImageDigest()
	if digest == "" {
		return nil
	}
	if !imageDigestPattern.MatchString(digest) {
		return Refuse(malformed, "%s has the OS image digest %q, not sha256: and 64 hexadecimal digits", subject, clipped(digest, 80))
	}
	if op.GetNode().GetOsImage().GetUri() == "" {
		return Refuse(malformed, "%s has the digest of an OS image and names none", subject)
	}
	return nil
}

// checkNodePart checks a node part as far as any operation with it must hold; the
// rest is package nodeadm's. subject begins the messages.
func checkNodePart(subject string, node *agentv1.NodeSpec, digest, nodeIP string) error {
	if node == nil || !digestPattern.MatchString(digest) {
		return Refuse(malformed, "%s has no node part, or no digest of it", subject)
	}
	if addr, err := netip.ParseAddr(nodeIP); err != nil || !addr.Is4() {
		return Refuse(malformed, "%s has the node IP %q, which is no IPv4 address", subject, clipped(nodeIP, 64))
	}
	if image := node.GetOsImage(); image != nil && !imagePattern.MatchString(image.GetUri()) {
		return Refuse(malformed, "%s names the OS image %q, which is no image reference", subject, clipped(image.GetUri(), 128))
	}
	return checkSource(subject, node.GetNodeadm())
}

// checkSource refuses a place for nodeadm that is none on the network: root reads
// no file of the host because somebody named it.
func checkSource(subject string, source *agentv1.NodeadmSource) error {
	if source == nil {
		return nil
	}
	parsed, err := url.Parse(source.GetUrl())
	if err != nil || len(source.GetUrl()) > maxURLBytes || parsed.Host == "" || (parsed.Scheme != "https" && parsed.Scheme != "http") {
		return Refuse(malformed, "%s takes nodeadm from %q, which is no http:// or https:// URL", subject, clipped(source.GetUrl(), 128))
	}
	if !digestPattern.MatchString(source.GetSha256()) {
		return Refuse(malformed, "%s takes nodeadm from a URL and does not pin it: nodeadm.sha256 has 64 lowercase hexadecimal digits", subject)
	}
	return nil
}
