// Package change decides what it takes to bring a node from what is applied to
// what is wanted, by the mildest path that nodeadm v1.0.20 allows, and says why.
// It is pure: it reads nothing and changes nothing.
package change
