package neighbours

import (
	"fmt"
	"strings"
	"testing"
)

func TestDetect(t *testing.T) {
	t.Parallel()
	const absent = "networkd=absent netplan=absent networkmanager=absent nm-cloud-setup=absent ifupdown=absent dhcpcd=absent"
	cases := []struct {
		name   string
		files  map[string]string
		active []string
		want   string // what differs from absent
		say    string
	}{
		{"nothing", nil, nil, "", ""},
		{"networkd", nil, []string{networkdUnit}, "networkd=disturbs", "no ManageForeignRoutes=no, no ManageForeignRoutingPolicyRules=no"},
		{"networkd and our file", map[string]string{DropInPath[1:]: dropIn}, []string{networkdUnit}, "networkd=fine", "=no in " + DropInPath},
		{"networkd and an operator's file", map[string]string{"etc/systemd/networkd.conf": "[Network]\nManageForeignRoutes = false\n"},
			[]string{networkdUnit}, "networkd=disturbs", "no ManageForeignRoutingPolicyRules=no"},
		{"our file, overridden", map[string]string{DropInPath[1:]: dropIn, "run/systemd/networkd.conf.d/60-x.conf": "[Network]\nManageForeignRoutes=1\n"},
			[]string{networkdUnit}, "networkd=disturbs", "no ManageForeignRoutes=no"},
		{"a key of another section", map[string]string{"etc/systemd/networkd.conf": "[DHCPv4]\nManageForeignRoutes=no\n;ManageForeignRoutes=no\n"},
			[]string{networkdUnit}, "networkd=disturbs", "no ManageForeignRoutes=no"},
		{"netplan", map[string]string{"etc/netplan/50-cloud-init.yaml": ""}, nil, "netplan=disturbs", "50-cloud-init.yaml"},
		{"NetworkManager", nil, []string{managerUnit}, "networkmanager=disturbs", "activating a connection"},
		{"cloud setup runs", nil, []string{managerUnit, cloudTimer}, "networkmanager=disturbs nm-cloud-setup=conflicts", "it runs"},
		{"cloud setup is enabled", map[string]string{"etc/systemd/system/timers.target.wants/nm-cloud-setup.timer": ""}, nil,
			"nm-cloud-setup=conflicts", "/etc/systemd/system/timers.target.wants/nm-cloud-setup.timer"},
		{"ifupdown", nil, []string{ifupdownUnit}, "ifupdown=disturbs", "networking.service runs"},
		{"dhcpcd", nil, []string{dhcpcdUnit}, "dhcpcd=disturbs", "dhcpcd.service runs"},
	}
	for _, c := range cases {
		h := hostWith(t, c.files, "257.9", c.active...)
		found, err := h.Detect(t.Context())
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var got, said []string
		for _, f := range found {
			got = append(got, fmt.Sprintf("%s=%s", f.ID, f.Verdict))
			if f.Verdict != Absent {
				said = append(said, f.Evidence)
			}
			if needs := f.Verdict == Conflicts || f.Verdict == Disturbs; needs != (f.Remedy != "") {
				t.Errorf("%s: %s is %s with remedy %q", c.name, f.ID, f.Verdict, f.Remedy)
			}
		}
		want := strings.Fields(absent)
		for _, differs := range strings.Fields(c.want) {
			id, _, _ := strings.Cut(differs, "=")
			for i, w := range want {
				if strings.HasPrefix(w, id+"=") {
					want[i] = differs
				}
			}
		}
		if strings.Join(got, " ") != strings.Join(want, " ") || !strings.Contains(strings.Join(said, "\n"), c.say) {
			t.Errorf("%s: %s\n%s\nwant %s and %q", c.name, got, strings.Join(said, "\n"), want, c.say)
		}
	}
}

func TestParseRelease(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]int{
		"252.39-1~deb12u2": {252, 39}, "249.11-0ubuntu3": {249, 11}, "257": {257, 0}, "256~rc2-1": {256, 0}, "252-46.el9": {252, 0},
		"": {}, "devel": {},
	} {
		if r := parseRelease(text); r.major != want[0] || r.point != want[1] {
			t.Errorf("%q: %+v", text, r)
		}
	}
}
