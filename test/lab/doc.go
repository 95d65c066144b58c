// Package lab builds a site of hosts in Linux namespaces on one machine: a default gateway, a management plane's host, a time server, a VPN
// server, the VPC behind it and any number of edge hosts, each edge host with its own network, mounts, processes and name.
//
// It owns the hosts and what connects them, how programs are started in them, and that nothing of a site outlives it. It does not know the
// programs that run there: see test/lab/actors.
//
// Every process of a site lives in one process namespace whose first process (the site's init, a role of the calling binary) holds a pipe
// to the program that made the site. When that program ends, in whatever way, the init ends everything and removes the site's folder; when
// the init is killed, the kernel does the same for the processes. Namespaces and mounts are never given a name on the machine, so they
// vanish with the last process that uses them.
package lab
