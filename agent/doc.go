// Package agent owns the daemon: its tasks, the pipeline from an assignment to
// conditions, and what of it is kept on disk. It writes no route itself (package
// netcfg does), never becomes root (hybrid-agent-op does), and starts no program.
package agent
