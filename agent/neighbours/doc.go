// Package neighbours owns what hybrid-agent knows of other programs on the host
// that manage its NICs: which are there, what they do to our routes, and the one
// file by which systemd-networkd is asked to leave those alone. It writes nothing
// but that file, and starts and stops nothing.
package neighbours
