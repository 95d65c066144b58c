package path

import (
	"net/netip"
	"testing"

	"hybridagent/netcfg"
)

func TestGrade(t *testing.T) {
	t.Parallel()
	inside := []Result{{Target: "10.100.0.1", OK: true}, {Target: "10.100.0.10:443"}}
	outside := []Result{{Target: "198.51.100.7:443", OK: true}, {Target: "10.100.0.1"}}
	for _, tc := range []struct {
		verdict Verdict
		results []Result
		want    netcfg.PathGrade
	}{
		{Unknown, nil, netcfg.GradeUnknown},
		{Healthy, inside, netcfg.GradeHealthy},
		{ClockWrong, inside, netcfg.GradeHealthy},
		{ProxyUnreachable, inside, netcfg.GradeHealthy},
		{MTUBlackHole, inside, netcfg.GradePartial},
		{APIUnreachable, inside, netcfg.GradePartial},
		{NameUnresolved, inside, netcfg.GradePartial},
		{NameUnresolved, nil, netcfg.GradeDown},
		{WrongAnswer, inside, netcfg.GradePartial},
		{WrongAnswer, outside, netcfg.GradeDown},
		{Unreachable, outside, netcfg.GradeDown},
	} {
		r := Report{Verdict: tc.verdict, Results: tc.results, Plan: Plan{VPCCIDRs: []netip.Prefix{netip.MustParsePrefix("10.100.0.0/16")}}}
		if got := r.Grade(); got != tc.want {
			t.Errorf("%s with %+v: %s, want %s", tc.verdict, tc.results, got, tc.want)
		}
	}
}
