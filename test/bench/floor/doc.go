// Package floor holds the smallest programs that do the same system work as the
// agent: what the benchmarks measure against. They share no code with the agent,
// check nothing, and keep no state beyond what the work needs.
package floor
