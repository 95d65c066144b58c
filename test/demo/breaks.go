package main

import (
	"fmt"
	"slices"
	"strings"
)

// sabotage is the one thing of the lab that a run breaks, to show that its row can fail.
type sabotage string

const (
	breakNothing   sabotage = ""
	breakRepair    sabotage = "repair"
	breakNodeIP    sabotage = "node-ip"
	breakSignature sabotage = "signature"
	breakCache     sabotage = "cache"
	breakRoute     sabotage = "route"
	breakClock     sabotage = "clock"
	breakDrain     sabotage = "drain"
	breakUncordon  sabotage = "uncordon"

	breakNames = "repair|node-ip|signature|cache|route|clock|drain|uncordon"
)

func (s sabotage) String() string {
	switch s {
	case breakRepair:
		return "the agent is stopped (SIGSTOP) when its route is deleted"
	case breakNodeIP:
		return "the kubelet stand-in ignores --node-ip"
	case breakSignature:
		return "root's configuration on the edge hosts pins another CA"
	case breakCache:
		return "what the agent has cached is removed while it is down"
	case breakRoute:
		return "the NodePool names a VPN server that is not on the hosts' network"
	case breakClock:
		return "the time server does not run"
	case breakDrain:
		return "a PodDisruptionBudget lets no pod be evicted"
	case breakUncordon:
		return "somebody takes over the cordon of a node that is being repaved"
	}
	return "nothing"
}

func parseBreak(text string) (sabotage, error) {
	if text == "" || slices.Contains(strings.Split(breakNames, "|"), text) {
		return sabotage(text), nil
	}
	return breakNothing, fmt.Errorf("DEMO_BREAK=%q is not one of %s", text, breakNames)
}
