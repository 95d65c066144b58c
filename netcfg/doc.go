// Package netcfg owns the host's network side: it reads links, addresses and
// routes, selects the NIC and the node IP, plans one route per VPC CIDR, and
// keeps those routes in the kernel.
//
// Reading needs no rights. ReadInventory, SelectNIC, PlanRoutes and Diff keep no
// state; the last three are pure functions of their arguments. Writing needs
// CAP_NET_ADMIN and is done by the Keeper alone, which touches only routes that
// carry OwnProtocol.
//
// The package does not know where desired state comes from, does not probe
// paths, and never configures addresses, links, DNS, policy rules or IPv6.
package netcfg
