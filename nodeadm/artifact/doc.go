// Package artifact stages what nodeadm would download: it reads nodeadm's
// manifest, fetches every artifact that a command needs into a folder of root's,
// verified by SHA-256, before anything on the host is stopped, and serves the
// files to nodeadm on the loopback while it runs. It also keeps the nodeadm
// binary that a node part pins. It starts no program and touches nothing outside
// its folder.
package artifact
