package neighbours

import "fmt"

// Releases of systemd that matter to the drop-in.
const (
	knowsRoutes = 246 // ManageForeignRoutes= (networkd.conf(5))
	knowsRules  = 249 // ManageForeignRoutingPolicyRules=
	// lastPeerFault is the last release with systemd issue 30403; 255.1 has its
	// repair.
	lastPeerFault = 255
)

// risk says what is known of the drop-in with this release: notes to read, and an
// error where it could cost the host its own default gateway, or has no effect.
func (h Host) risk(r release) (notes []string, err error) {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("cannot set up networkd: "+format+
			"; the daemon puts its routes back without it; to write it all the same, with somebody at the host's console, add --accept-risk", args...)
	}
	switch {
	case r.major == 0:
		return nil, refuse("the version of systemd is unknown, and some releases lose their own gateway by it")
	case r.major < knowsRoutes:
		return nil, refuse("%s does not know ManageForeignRoutes=, which came with %d", r, knowsRoutes)
	case r.major < knowsRules:
		return []string{fmt.Sprintf("%s does not know ManageForeignRoutingPolicyRules=, which came with %d: policy rules may still go, and come back", r, knowsRules)}, nil
	case r.major == knowsRules:
		return nil, refuse("early builds of 249 then leave out the default gateway of .network files at boot (systemd issue 20201), and this is %s", r)
	case r.major < lastPeerFault || r.major == lastPeerFault && r.point == 0:
		if file := h.peerFile(); file != "" {
			return nil, refuse("builds of 250 to 255 then leave out a default gateway behind an address with Peer= (systemd issue 30403); this is %s, and %s has one", r, file)
		}
		return []string{fmt.Sprintf("%s may leave out a default gateway behind an address with Peer= (systemd issue 30403); no .network file here has one", r)}, nil
	}
	return nil, nil
}
