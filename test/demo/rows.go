package main

import "time"

// rows are the demo's checks, in their order. A row that is not checked stays not reached.
func (d *demo) rows() []*row {
	const short, long = 10 * time.Second, 25 * time.Second
	rows := []*row{
		{id: "vpc-unreachable-before", limit: short, check: d.checkUnreachable},
		{id: "enrolled", limit: long, check: d.checkEnrolled, needs: []string{"vpc-unreachable-before"}},
		{id: "inventory", limit: short, check: d.checkInventory, needs: []string{"enrolled"}},
		{id: "nic", limit: short, check: d.checkNIC, needs: []string{"inventory"}},
		{id: "route", limit: short, check: d.checkRoute, needs: []string{"nic"}},
		{id: "path", limit: long, check: d.checkPath, needs: []string{"route"}},
		{id: "clock", limit: short, check: d.checkClock, needs: []string{"nic"}},
		{id: "signature", limit: long, check: d.checkSignature, needs: []string{"path"}},
		{id: "provision", limit: 2 * long, check: d.checkProvision, needs: []string{"signature"}},
		{id: "node-ip", limit: short, check: d.checkNodeIP, needs: []string{"provision"}},
		{id: "node-ready", limit: long, check: d.checkNodeReady, needs: []string{"node-ip"}},
		{id: "pool-running", limit: long, check: d.checkPoolRunning, needs: []string{"node-ready"}},
		{id: "ping-from-vpc", limit: short, check: d.checkPing, needs: []string{"path"}},
		{id: "repair", limit: short, check: d.checkRepair, needs: []string{"route"}},
		{id: "cache", limit: 15 * time.Second, check: d.checkCache, needs: []string{"repair", "pool-running"}},
		{id: "reconnect", limit: 2 * long, check: d.checkReconnect, needs: []string{"cache"}},
		{id: "repave", limit: 90 * time.Second, check: d.checkRepave, needs: []string{"reconnect"}},
		{id: "leave", limit: time.Minute, check: d.checkLeave, needs: []string{"repave"}},
	}
	for _, r := range rows {
		r.result = notReached
	}
	return rows
}
