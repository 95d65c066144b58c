// Package contract runs the table of recorded runs on a systemd host of the lab: against the stand-in, or against the real nodeadm
// that NODEADM_BIN names. Its tests are behind the build tag systemd; make test-nodeadm starts them.
package contract
