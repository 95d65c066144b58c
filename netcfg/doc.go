// Package netcfg owns the host's network side: it reads links, addresses and
// routes, selects the NIC and the node IP, plans the routes to the VPC and the ways
// by which each VPN server is probed, chooses among those servers, keeps routes and
// rules in the kernel, and decides on trials of a changed network.
//
// Reading needs no rights. ReadInventory, SelectNIC, PlanRoutes and Diff keep no
// state; the last three are pure functions of their arguments, as are MayBegin and
// Trial.Judge. Failover is a state machine over times that are handed in. Writing
// needs CAP_NET_ADMIN and is done by the Keeper alone, which touches only routes and
// policy rules that carry OwnProtocol.
//
// The package does not know where desired state comes from, does not probe paths,
// and never configures addresses, links, DNS or IPv6.
package netcfg
