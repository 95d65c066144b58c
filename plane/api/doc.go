// Package api is what operators call: it validates resources, field by field
// and against each other, writes them, and answers them without their secrets.
// It does not compile, push or sign; fleet and rollout see its writes through
// the store.
package api
