// Package engine runs operations: one at a time, step by step, each step
// journalled before and after, so that an operation goes on after a crash where
// it was. It knows what a step is, not what one does: operations are put
// together by a Planner.
package engine
