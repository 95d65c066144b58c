// Package path owns probing the way to the VPC: TCP to the API endpoint and to
// targets with a port, ICMP echo to those without, each bound to the selected NIC
// and the node IP; each VPN server through its own table; the path MTU; and one
// verdict over all that names the segment which is broken. It writes no route and
// no setting, and does not know where the targets come from.
//
// A round gathers plain facts (evidence), a pure function judges them (judge), and
// another one decides what is shown of it (damper).
package path
