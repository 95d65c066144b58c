package netcfg

// Codes of FieldError, Candidate and SelectionError: one word for each thing that
// can be wrong, in the form of a condition's reason. Texts may be reworded; codes
// stay.
const (
	// NICUnknown: no link of this host has the name or MAC that was asked for.
	NICUnknown = "NICUnknown"
	// NICGone: the link that the node uses is not on the host at the moment.
	NICGone = "NICGone"
	// NICDown: the link is administratively down.
	NICDown = "NICDown"
	// NICNoCarrier: the link is up, and nothing is at the other end of its cable.
	NICNoCarrier = "NICNoCarrier"
	// NICNoAddress: the link has no IPv4 address that a node could have.
	NICNoAddress = "NICNoAddress"
	// OutsideRemoteNodeCIDRs: the link has addresses, none of them inside the
	// remote node CIDRs.
	OutsideRemoteNodeCIDRs = "OutsideRemoteNodeCIDRs"
	// NICEnslaved: the link is a port of a bond or bridge, which is to be used in
	// its place.
	NICEnslaved = "NICEnslaved"
	// NICAmbiguous: several links have the MAC that was asked for, and nothing
	// tells which of them is meant.
	NICAmbiguous = "NICAmbiguous"
	// NICUnusable: no NIC of a host at all, or only links that none can be: the
	// loopback, a container's, a tunnel.
	NICUnusable = "NICUnusable"

	// VPNServerNotOnLink: no subnet of the selected NIC holds the VPN server.
	VPNServerNotOnLink = "VPNServerNotOnLink"
	// VPNServerInvalid: the address cannot be a next hop on this host.
	VPNServerInvalid = "VPNServerInvalid"
	// VPCCIDRCoversOwnSubnet: the CIDR shares addresses with a subnet of this host.
	VPCCIDRCoversOwnSubnet = "VPCCIDRCoversOwnSubnet"
	// VPCCIDRCoversGateway: the CIDR contains the default gateway.
	VPCCIDRCoversGateway = "VPCCIDRCoversGateway"
	// VPCCIDRCoversVPNServer: the CIDR contains the VPN server itself.
	VPCCIDRCoversVPNServer = "VPCCIDRCoversVPNServer"
	// VPCCIDRInvalid: the value is no IPv4 unicast network.
	VPCCIDRInvalid = "VPCCIDRInvalid"
)
