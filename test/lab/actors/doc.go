// Package actors runs the product and its stand-ins on the hosts of a lab site: the management plane, the operator with hybridctl, AWS, and
// the daemons of an edge host. The demo and the tests on systemd hosts share it.
//
// It owns how these programs are started and asked; what must hold is the business of the demo and the tests. It does not own the hosts:
// see test/lab.
package actors
