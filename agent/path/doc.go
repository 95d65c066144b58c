// Package path owns probing the way to the VPC: TCP to the API endpoint and to
// targets with a port, ICMP echo to those without, each bound to the selected NIC
// and the node IP, and one verdict over all. It changes nothing on the host and
// does not know where the targets come from.
package path
