// Package fleet knows the hosts: it enrols them, holds one stream with each,
// keeps their state in memory with changes written behind, and pushes to each
// the assignment that compile makes whenever a resource changes. It does not
// decide when an operation runs (rollout does) nor what operators may write
// (api does).
package fleet
