// Package ca is the plane's own certificate authority: it owns the root key,
// the key that signs operations, and every certificate that either vouches for.
// It does not decide who gets one; fleet and api do. Keys rest in the store,
// encrypted.
package ca
