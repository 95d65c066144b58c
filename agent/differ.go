package agent

import (
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// maxRepaveFields bounds HostStatus.repave_fields.
const maxRepaveFields = 32

// nodeDifferences names the fields in which two node parts differ, in the order
// of their numbers. Registration labels and taints are left out: kubelet uses
// them once, and they take effect by other ways.
func nodeDifferences(applied, wanted *agentv1.NodeSpec) []string {
	var names []string
	a, w := applied.ProtoReflect(), wanted.ProtoReflect()
	fields := a.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if fd.Name() == "registration_labels" || fd.Name() == "registration_taints" {
			continue
		}
		if !sameField(a, w, fd) && len(names) < maxRepaveFields {
			names = append(names, "node."+string(fd.Name()))
		}
	}
	return names
}

func sameField(a, b protoreflect.Message, fd protoreflect.FieldDescriptor) bool {
	if a.Has(fd) != b.Has(fd) {
		return false
	}
	if !a.Has(fd) {
		return true
	}
	// Compare as messages with that one field: proto.Equal knows lists and maps.
	x, y := a.New(), b.New()
	x.Set(fd, a.Get(fd))
	y.Set(fd, b.Get(fd))
	return proto.Equal(x.Interface(), y.Interface())
}

// repaveFields says what differs between what is applied and what is wanted; empty
// where nothing is applied, or nothing differs.
func (f *facts) repaveFields() []string {
	applied := f.node.state.GetAppliedNodeDigest()
	if applied == "" || !f.assignment.inPool() || f.assignment.msg.GetNodeDigest() == applied {
		return nil
	}
	if f.provisioned == nil || f.provisioned.msg.GetNodeDigest() != applied {
		return []string{"node"} // what was applied is not known in detail
	}
	fields := nodeDifferences(f.provisioned.msg.GetNode(), f.assignment.msg.GetNode())
	switch rest := f.withoutConfirmed(fields); {
	case len(rest) > 0:
		return rest
	case len(fields) > 0 && f.record.Switched.explains(f.assignment):
		return nil
	}
	return []string{"node"}
}

// explains says whether a live switch has brought all in which an assignment differs
// from the node.
func (s *switchedServers) explains(a *assignment) bool {
	return s != nil && (s.NodeDigest == "" || s.NodeDigest == a.msg.GetNodeDigest())
}

// withoutConfirmed leaves out what is in force on this host already, by a live
// switch.
func (f *facts) withoutConfirmed(fields []string) []string {
	wanted, have := f.assignment.network.config(), f.record.Confirmed
	if have == nil {
		return fields
	}
	same := map[string]bool{
		"node.vpn_servers": slices.Equal(wanted.VPNServers, have.VPNServers),
		"node.vpc_cidrs":   slices.Equal(wanted.VPCCIDRs, have.VPCCIDRs),
	}
	var rest []string
	for _, field := range fields {
		if !same[field] {
			rest = append(rest, field)
		}
	}
	return rest
}
