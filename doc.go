// Package hybridagent is the root of the module: it holds no code, only the
// tests that keep the rules of the house (which folder may import which, one
// package comment per package, what the daemon may link).
package hybridagent
