// Package plane wires the management plane together: store, certificate
// authority, fleet, rollout and API behind one listener. It holds no logic of
// its own, so that programs and tests run the same plane.
package plane
