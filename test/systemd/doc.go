// Package systemd takes real systemd hosts, with the packaged units on them, from boot to a Ready node. It owns what must hold there;
// the hosts are test/lab's, the programs around them test/lab/actors'. The tests need the build tag systemd and root.
package systemd
