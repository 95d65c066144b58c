// Package compile turns HybridCluster, profile version, NodePool and host into
// the one Assignment of a host. It is pure: the same resources give the same
// bytes, on any plane. It does not number, store or send what it makes.
package compile
