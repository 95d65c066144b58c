package neighbours

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
)

// Verdict is what a neighbour means to our routes.
type Verdict string

// The verdicts.
const (
	// Absent: it does not run here.
	Absent Verdict = "absent"
	// Fine: it leaves our routes alone.
	Fine Verdict = "fine"
	// Disturbs: it takes our routes away at times, and the daemon puts them back.
	Disturbs Verdict = "disturbs"
	// Conflicts: it works against the host's routing; it has to go.
	Conflicts Verdict = "conflicts"
)

// Finding is one neighbour.
type Finding struct {
	// ID names it: networkd, netplan, networkmanager, nm-cloud-setup, ifupdown,
	// dhcpcd.
	ID string `json:"id"`
	// Verdict is what it means to our routes.
	Verdict Verdict `json:"verdict"`
	// Evidence is what was seen of it.
	Evidence string `json:"evidence"`
	// Remedy is what an operator can do; empty: nothing needs to be done.
	Remedy string `json:"remedy,omitempty"`
}

// Units by which neighbours are known.
const (
	networkdUnit = "systemd-networkd.service"
	managerUnit  = "NetworkManager.service"
	cloudService = "nm-cloud-setup.service"
	cloudTimer   = "nm-cloud-setup.timer"
	ifupdownUnit = "networking.service"
	dhcpcdUnit   = "dhcpcd.service"
)

// Detect looks for the neighbours that are known, and lists each.
func (h Host) Detect(ctx context.Context) ([]Finding, error) {
	running, err := h.running(ctx, networkdUnit, managerUnit, cloudService, cloudTimer, ifupdownUnit, dhcpcdUnit)
	if err != nil {
		return nil, err
	}
	networkd, err := h.networkd(ctx, running[networkdUnit])
	if err != nil {
		return nil, err
	}
	return []Finding{
		networkd,
		h.netplan(),
		manager(running[managerUnit]),
		h.cloudSetup(running),
		addressKeeper("ifupdown", ifupdownUnit, running),
		addressKeeper("dhcpcd", dhcpcdUnit, running),
	}, nil
}

// networkd judges systemd-networkd by what its files ask of it.
func (h Host) networkd(ctx context.Context, runs bool) (Finding, error) {
	f := Finding{ID: "networkd", Verdict: Absent, Evidence: networkdUnit + " does not run"}
	if !runs {
		return f, nil
	}
	found, err := h.settings()
	if err != nil {
		return f, err
	}
	var kept, missing []string
	for _, key := range foreignSettings() {
		if s := found[key]; isNo(s.value) {
			kept = append(kept, fmt.Sprintf("%s=no in %s", key, s.file))
		} else {
			missing = append(missing, key)
		}
	}
	f.Evidence = fmt.Sprintf("%s runs, %s", networkdUnit, h.release(ctx))
	if len(missing) == 0 {
		f.Verdict, f.Evidence = Fine, f.Evidence+"; "+strings.Join(kept, ", ")
		return f, nil
	}
	f.Verdict = Disturbs
	f.Evidence += "; it deletes routes and rules of others when it starts or configures a link anew: no " + strings.Join(missing, "=no, no ") + "=no"
	f.Remedy = "none is needed, the daemon puts them back; hybrid-agent host-setup networkd asks it to leave them"
	return f, nil
}

// netplan judges the front end of networkd or NetworkManager.
func (h Host) netplan() Finding {
	paths, _ := filepath.Glob(h.path("etc/netplan/*.yaml"))
	if len(paths) == 0 {
		return Finding{ID: "netplan", Verdict: Absent, Evidence: "no file in /etc/netplan"}
	}
	return Finding{
		ID: "netplan", Verdict: Disturbs, Evidence: fmt.Sprintf("/etc/netplan has %s: netplan apply restarts networkd or NetworkManager", filepath.Base(paths[0])),
		Remedy: "none is needed, the daemon puts the routes back; see networkd",
	}
}

// manager judges NetworkManager, by what 1.52 was seen to do.
func manager(runs bool) Finding {
	if !runs {
		return Finding{ID: "networkmanager", Verdict: Absent, Evidence: managerUnit + " does not run"}
	}
	return Finding{
		ID: "networkmanager", Verdict: Disturbs,
		Evidence: managerUnit + " runs: reapply and a restart leave our routes; activating a connection takes them with the address",
		Remedy:   "none is needed, the daemon puts them back",
	}
}

// cloudSetup looks for the helper that makes routes and policy rules from a cloud's
// metadata.
func (h Host) cloudSetup(running map[string]bool) Finding {
	f := Finding{ID: "nm-cloud-setup", Verdict: Absent, Evidence: "it neither runs nor is enabled"}
	enabled, _ := filepath.Glob(h.path("etc/systemd/system/*.wants/nm-cloud-setup.*"))
	switch {
	case running[cloudTimer] || running[cloudService]:
		f.Evidence = "it runs"
	case len(enabled) > 0:
		f.Evidence = "it is enabled: " + "/" + strings.TrimPrefix(strings.TrimPrefix(enabled[0], h.Root), "/")
	default:
		return f
	}
	f.Verdict = Conflicts
	f.Evidence += "; it makes policy rules and routes that lead pods and the VPC past the main table"
	f.Remedy = "systemctl disable --now nm-cloud-setup.timer nm-cloud-setup.service, then reboot"
	return f
}

// addressKeeper judges one that flushes addresses, and our routes with them, when
// it configures a NIC.
func addressKeeper(id, unit string, running map[string]bool) Finding {
	if !running[unit] {
		return Finding{ID: id, Verdict: Absent, Evidence: unit + " does not run"}
	}
	return Finding{
		ID: id, Verdict: Disturbs, Evidence: unit + " runs: our routes go with an address that it takes away, and come back with the next",
		Remedy: "none is needed, the daemon puts them back",
	}
}
