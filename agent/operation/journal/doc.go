// Package journal is root's memory of operations: the signed bytes as they were
// accepted, the last sequence, and what each step was about to do and came to.
// Every record is on disk, with the directory, before the call returns, so an
// operation can be taken up after a power cut at any point. It knows nothing of
// what the steps do.
package journal
