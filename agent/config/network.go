package config

import (
	"slices"
	"strings"
	"time"
)

// Bounds of network.trialTimeout.
const (
	leastTrial = 5 * time.Second
	mostTrial  = 10 * time.Minute
)

// completeNetwork fills in defaults; -1 stands for a duration that is none.
func completeNetwork(in rawNetwork) Network {
	n := Network{PathMTU: or(in.PathMTU, PathMTUSet)}
	var err error
	n.ResyncInterval, err = time.ParseDuration(or(in.ResyncInterval, "10m"))
	if err != nil && strings.TrimSpace(or(in.ResyncInterval, "")) != "0" {
		n.ResyncInterval = -1
	}
	if n.TrialTimeout, err = time.ParseDuration(or(in.TrialTimeout, "45s")); err != nil {
		n.TrialTimeout = -1
	}
	if in.RouteMetric != nil {
		n.RouteMetric = *in.RouteMetric
	}
	if in.OnLink != nil {
		n.OnLink = *in.OnLink
	}
	return n
}

func checkNetwork(n Network, in rawNetwork, refuse func(key, format string, args ...any)) {
	if n.ResyncInterval < 0 || n.ResyncInterval > 0 && n.ResyncInterval < time.Second {
		refuse("network.resyncInterval", "%q is no duration of at least 1s, or 0 for never", or(in.ResyncInterval, ""))
	}
	if n.TrialTimeout < leastTrial || n.TrialTimeout > mostTrial {
		refuse("network.trialTimeout", "%q is no duration from %s to %s", or(in.TrialTimeout, ""), leastTrial, mostTrial)
	}
	if !slices.Contains([]string{PathMTUSet, PathMTUReport}, n.PathMTU) {
		refuse("network.pathMTU", "%q is not one of %s, %s", n.PathMTU, PathMTUSet, PathMTUReport)
	}
}
