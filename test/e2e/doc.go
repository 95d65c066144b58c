// Package e2e runs the demo as a user would: once as it is, once with each of its breaks, and interrupted at random. It owns what the
// demo's rows, exit codes and traces must be. The tests need the build tag demo, root, and build/lab/demo (make e2e).
package e2e
