// Package e2e runs the product as its users would: the demo, once as it is, once with each of its breaks, and interrupted at random; and
// sites of its own, on which operators change the network of hosts while servers, tunnels, NICs, disks and power fail, and repave nodes
// while everything that a repave needs does. It owns what the demo's rows, exit codes and traces must be, and in which state each change
// and each fault must end.
//
// The tests need the build tag demo, or soak for the long ones, root, and the programs that make build-lab builds (make e2e, make soak).
// SOAK_SEED repeats the choices of an earlier soak of repaves, which prints its seed.
package e2e
