package netcfg

import "testing"

func TestDiff(t *testing.T) {
	t.Parallel()
	const vpc = "10.100.0.0/16 via 10.200.0.2 dev 2 src 10.200.0.11\n"
	cases := map[string]struct {
		want, have, add, replace, del string
		unrecorded                    bool // no former run tells of what is there
	}{
		"nothing":             {},
		"first install":       {want: vpc, add: vpc},
		"already there":       {want: vpc, have: vpc},
		"no longer wanted":    {have: vpc, del: vpc},
		"other next hop":      {want: vpc, have: "10.100.0.0/16 via 10.200.0.3 dev 2 src 10.200.0.11\n", replace: vpc},
		"other source":        {want: vpc, have: "10.100.0.0/16 via 10.200.0.2 dev 2 src 10.200.0.12\n", replace: vpc},
		"other link":          {want: vpc, have: "10.100.0.0/16 via 10.200.0.2 dev 3 src 10.200.0.11\n", replace: vpc},
		"other metric":        {want: vpc, have: "10.100.0.0/16 via 10.200.0.2 dev 2 src 10.200.0.11 metric 5\n", add: vpc, del: "10.100.0.0/16 via 10.200.0.2 dev 2 src 10.200.0.11 metric 5\n"},
		"other CIDR":          {want: vpc, have: "10.101.0.0/16 via 10.200.0.2 dev 2\n", add: vpc, del: "10.101.0.0/16 via 10.200.0.2 dev 2\n"},
		"foreign same prefix": {want: vpc, have: "10.100.0.0/16 via 10.200.0.9 dev 2 proto 3\n", add: vpc},
		"foreign not wanted":  {have: "10.100.0.0/16 via 10.200.0.9 dev 2 proto 3\n"},
		"foreign lower rank":  {want: vpc, have: vpc + "10.100.0.0/16 via 10.200.0.9 dev 2 proto 16 metric 100\n"},
		"foreign beside ours": {
			want: vpc, have: "10.100.0.0/16 via 10.200.0.9 dev 2 proto 3\n10.100.0.0/16 via 10.200.0.3 dev 2\n", add: vpc,
		},
		"ours, other table":  {have: "10.100.0.0/16 via 10.200.0.2 dev 2 table 100\n"},
		"ours, probe table":  {have: "10.100.0.0/16 via 10.200.0.2 dev 2 table 26624\n", del: "10.100.0.0/16 via 10.200.0.2 dev 2 table 26624\n"},
		"ours with a TOS":    {have: "10.100.0.0/16 via 10.200.0.2 dev 2 tos 16\n"},
		"never ours":         {want: vpc, have: "10.99.0.0/16 via 10.200.0.2 dev 2\n", add: vpc, unrecorded: true},
		"unrecorded, wanted": {want: vpc, have: "10.100.0.0/16 via 10.200.0.3 dev 2\n", replace: vpc, unrecorded: true},
		"other MTU":          {want: vpc, have: "10.100.0.0/16 via 10.200.0.2 dev 2 src 10.200.0.11 mtu 1400\n", replace: vpc},
		"locked MTU":         {want: vpc, have: "10.100.0.0/16 via 10.200.0.2 dev 2 src 10.200.0.11 odd 1\n", replace: vpc},
		"wanted twice":       {want: vpc + vpc, add: vpc},
		"wanted foreign":     {want: "10.100.0.0/16 via 10.200.0.2 dev 2 proto 4\n"},
		"appended duplicate": {
			want: vpc, have: "10.100.0.0/16 via 10.200.0.3 dev 2\n" + vpc,
			del: "10.100.0.0/16 via 10.200.0.3 dev 2\n",
		},
		"only duplicates": {
			want: vpc, have: "10.100.0.0/16 via 10.200.0.3 dev 2\n10.100.0.0/16 via 10.200.0.4 dev 2\n", replace: vpc,
		},
		"several": {
			want:    "10.100.0.0/16 via 10.200.0.2 dev 2\n10.101.0.0/16 via 10.200.0.2 dev 2\n10.102.0.0/16 via 10.200.0.2 dev 2\n",
			have:    "10.101.0.0/16 via 10.200.0.3 dev 2\n10.102.0.0/16 via 10.200.0.2 dev 2\n10.103.0.0/16 via 10.200.0.2 dev 2\n",
			add:     "10.100.0.0/16 via 10.200.0.2 dev 2\n",
			replace: "10.101.0.0/16 via 10.200.0.2 dev 2\n",
			del:     "10.103.0.0/16 via 10.200.0.2 dev 2\n",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			desired, have := Desired{Routes: parseRoutes(t, c.want)}, parseRoutes(t, c.have)
			for _, r := range have {
				if !c.unrecorded {
					desired.Former = append(desired.Former, r.ID())
				}
			}
			got := Diff(desired, have, nil)
			for _, part := range []struct{ what, got, want string }{
				{"add", formatRoutes(got.Add), c.add},
				{"replace", formatRoutes(got.Replace), c.replace},
				{"del", formatRoutes(got.Del), c.del},
			} {
				if part.got != part.want {
					t.Errorf("%s:\n%swant:\n%s", part.what, part.got, part.want)
				}
			}
		})
	}
}
