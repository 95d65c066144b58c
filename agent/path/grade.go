package path

import (
	"slices"

	"hybridagent/netcfg"
)

// Grade says how good the path is, for a trial to compare with what was before. A
// wrong clock and a dead proxy are no matter of the path: the VPC answers.
//
// A path that flaps is as good as it is now: taken for bad, it would let a trial pass
// that leads into a black hole.
func (r Report) Grade() netcfg.PathGrade {
	if r.Held {
		return netcfg.GradeHealthy
	}
	switch r.Verdict {
	case Healthy, ClockWrong, ProxyUnreachable:
		return netcfg.GradeHealthy
	case APIUnreachable, MTUBlackHole:
		return netcfg.GradePartial
	case Unreachable:
		return netcfg.GradeDown
	case NameUnresolved, WrongAnswer:
		if slices.ContainsFunc(r.Results, func(result Result) bool { return result.OK && r.Plan.inVPC(result.addr()) }) {
			return netcfg.GradePartial
		}
		return netcfg.GradeDown
	case Unknown:
	}
	return netcfg.GradeUnknown
}
