package compile

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// Defaults of an OS pack's drain block, in seconds.
const (
	drainTimeout    = 60
	drainGrace      = 60
	drainSkipDelete = 60
)

// Drain is how nodes are drained, every field set; what spec leaves out has the OS
// pack's default.
func Drain(spec *planev1.DrainSpec) *agentv1.DrainOptions {
	if spec == nil {
		spec = &planev1.DrainSpec{}
	}
	return &agentv1.DrainOptions{
		Cordon:                   or(spec.Cordon, true),
		Timeout:                  seconds(or(spec.Timeout, drainTimeout)),
		GracePeriodSeconds:       or(spec.GracePeriod, drainGrace),
		IgnoreDaemonSets:         or(spec.IgnoreDaemonSets, true),
		DeleteLocalData:          or(spec.DeleteLocalData, true),
		Force:                    or(spec.Force, true),
		DisableEviction:          or(spec.DisableEviction, false),
		SkipWaitForDeleteTimeout: seconds(or(spec.SkipWaitForDeleteTimeout, drainSkipDelete)),
	}
}

func or[T any](given *T, otherwise T) T {
	if given != nil {
		return *given
	}
	return otherwise
}

func seconds(n uint32) *durationpb.Duration {
	return durationpb.New(time.Duration(n) * time.Second)
}
