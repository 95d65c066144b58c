package operation

import (
	"net/netip"
	"regexp"
	"strings"
	"time"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Deadlines of an operation, counted from its first step.
const (
	// DefaultProvisionDeadline holds for a provision operation that names none.
	DefaultProvisionDeadline = 15 * time.Minute
	// MaxDeadline is the longest that an operation may ask for.
	MaxDeadline = 4 * time.Hour
)

// idPattern is the form of an operation's ID. The ID becomes part of file and
// unit names, so nothing else passes, signed or not.
var idPattern = regexp.MustCompile(`^[0-9a-z]{26}$`)

// digestPattern is the form of a node digest.
var digestPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

// maxVPNServers bounds NetworkSwitch.vpn_servers.
const maxVPNServers = 8

// validate checks an operation's fields; network says that live network switches
// are taken here.
func validate(op *agentv1.Operation, network bool) error {
	if !ValidID(op.GetId()) {
		return Refuse(malformed, "the operation's ID %q is not 26 lowercase letters and digits", clipped(op.GetId(), 64))
	}
	if op.GetSequence().GetCounter() == 0 {
		return Refuse(malformed, "operation %s has no sequence", op.GetId())
	}
	switch op.GetKind() {
	case agentv1.OperationKind_OPERATION_KIND_PROVISION:
		return validateNode(op)
	case agentv1.OperationKind_OPERATION_KIND_LIVE_NETWORK_SWITCH:
		if !network {
			return Refuse(unknownKind, "operation %s is a live network switch, which the daemon runs and root never does", op.GetId())
		}
		return validateSwitch(op)
	default:
		return Refuse(unknownKind, "operations of kind %d are unknown here; upgrade the agent", op.GetKind())
	}
}

// validateSwitch checks what a live network switch carries.
func validateSwitch(op *agentv1.Operation) error {
	servers := op.GetNetworkSwitch().GetVpnServers()
	if len(servers) == 0 || len(servers) > maxVPNServers {
		return Refuse(malformed, "operation %s names %d VPN servers, not 1 to %d", op.GetId(), len(servers), maxVPNServers)
	}
	seen := map[netip.Addr]bool{}
	for _, text := range servers {
		addr, err := netip.ParseAddr(text)
		if err != nil || !addr.Is4() || addr.IsMulticast() || addr.IsUnspecified() || addr.IsLoopback() {
			return Refuse(malformed, "operation %s names the VPN server %q, which is no IPv4 unicast address", op.GetId(), clipped(text, 64))
		}
		if seen[addr] {
			return Refuse(malformed, "operation %s names the VPN server %s twice", op.GetId(), addr)
		}
		seen[addr] = true
	}
	return nil
}

// validateNode checks the fields of operations that bring a node part about.
func validateNode(op *agentv1.Operation) error {
	if op.GetNode() == nil || !digestPattern.MatchString(op.GetNodeDigest()) {
		return Refuse(malformed, "operation %s has no node part, or no digest of it", op.GetId())
	}
	if addr, err := netip.ParseAddr(op.GetNodeIp()); err != nil || !addr.Is4() {
		return Refuse(malformed, "operation %s has the node IP %q, which is no IPv4 address", op.GetId(), clipped(op.GetNodeIp(), 64))
	}
	if deadline := op.GetDeadline(); deadline != nil {
		if d := deadline.AsDuration(); deadline.CheckValid() != nil || d <= 0 || d > MaxDeadline {
			return Refuse(malformed, "operation %s has the deadline %s, not more than 0 and at most %s", op.GetId(), d, MaxDeadline)
		}
	}
	return nil
}

// ValidID reports whether a text can be an operation's ID.
func ValidID(id string) bool { return idPattern.MatchString(id) }

// Deadline returns how long an operation may take.
func Deadline(op *agentv1.Operation) time.Duration {
	if op.GetDeadline() == nil {
		return DefaultProvisionDeadline
	}
	return op.GetDeadline().AsDuration()
}

// Ended reports whether an operation in this state is over.
func Ended(state agentv1.OperationState) bool {
	switch state {
	case agentv1.OperationState_OPERATION_STATE_SUCCEEDED,
		agentv1.OperationState_OPERATION_STATE_FAILED,
		agentv1.OperationState_OPERATION_STATE_REFUSED:
		return true
	default:
		return false
	}
}

// StateName is a state in lower case: succeeded.
func StateName(state agentv1.OperationState) string {
	return strings.ToLower(strings.TrimPrefix(state.String(), "OPERATION_STATE_"))
}
