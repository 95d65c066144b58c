package netcfg

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestDiff(t *testing.T) {
	t.Parallel()
	const vpc = "10.100.0.0/16 via 10.200.0.2 dev 2 src 10.200.0.11\n"
	cases := map[string]struct{ want, have, add, replace, del string }{
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
		"ours, other table":   {have: "10.100.0.0/16 via 10.200.0.2 dev 2 table 100\n"},
		"wanted twice":        {want: vpc + vpc, add: vpc},
		"wanted foreign":      {want: "10.100.0.0/16 via 10.200.0.2 dev 2 proto 4\n"},
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
			add, replace, del := Diff(parseRoutes(t, c.want), parseRoutes(t, c.have))
			for _, part := range []struct{ what, got, want string }{
				{"add", formatRoutes(add), c.add},
				{"replace", formatRoutes(replace), c.replace},
				{"del", formatRoutes(del), c.del},
			} {
				if part.got != part.want {
					t.Errorf("%s:\n%swant:\n%s", part.what, part.got, part.want)
				}
			}
		})
	}
}

// fakeTable behaves like the kernel's table, in the order of the Diff contract.
type fakeTable []Route

func (f *fakeTable) add(r Route) bool {
	if slices.ContainsFunc(*f, func(h Route) bool { return h.key() == r.key() }) {
		return false // EEXIST
	}
	*f = append(*f, r)
	return true
}

func (f *fakeTable) replace(r Route) {
	i := slices.IndexFunc(*f, func(h Route) bool { return h.key() == r.key() })
	(*f)[i] = r
}

func (f *fakeTable) del(r Route) { *f = slices.DeleteFunc(*f, func(h Route) bool { return h == r }) }

func TestDiffConvergesAndSparesForeignRoutes(t *testing.T) {
	t.Parallel()
	route := func(protocols ...uint8) *rapid.Generator[Route] {
		return rapid.Custom(func(t *rapid.T) Route {
			return Route{
				Dst:       rapid.SampledFrom(prefixes("10.100.0.0/16", "10.101.0.0/16", "10.100.1.0/24", "172.31.0.0/16")).Draw(t, "dst"),
				Gateway:   rapid.SampledFrom(addresses("10.200.0.2", "10.200.0.3")).Draw(t, "gateway"),
				LinkIndex: rapid.IntRange(2, 3).Draw(t, "link"),
				Protocol:  rapid.SampledFrom(protocols).Draw(t, "protocol"),
				Metric:    rapid.Uint32Range(0, 1).Draw(t, "metric"),
				Type:      TypeUnicast, Table: TableMain,
			}
		})
	}
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfNDistinct(route(OwnProtocol), 0, 5, Route.key).Draw(t, "want")
		// Foreign and own routes never share a key: the kernel keeps them apart
		// unless somebody appends.
		have := fakeTable(rapid.SliceOfNDistinct(route(OwnProtocol, 3, 16), 0, 8, Route.key).Draw(t, "have"))
		foreign := slices.DeleteFunc(slices.Clone(have), Route.Own)
		add, replace, del := Diff(want, have)
		blocked := 0
		for _, r := range add {
			if !have.add(r) {
				blocked++
			}
		}
		for _, r := range replace {
			have.replace(r)
		}
		for _, r := range del {
			have.del(r)
		}
		for _, f := range foreign {
			if !slices.Contains(have, f) {
				t.Fatalf("foreign route %s was touched", f)
			}
		}
		again, rep, gone := Diff(want, have)
		if len(again) != blocked || len(rep) > 0 || len(gone) > 0 {
			t.Fatalf("not converged: add %v replace %v del %v", again, rep, gone)
		}
	})
}
