// Command bench runs the agent's work beside floors: the smallest programs that do
// the same system work on the same machine in the same run. It writes a JSON list
// and prints a table. A missed goal is shown and does not fail the run.
//
// Everything happens in network namespaces of its own, which vanish with the
// process; it needs root, or a kernel that lets users make user namespaces.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"hybridagent/test/lab"
)

// limit ends a run that hangs.
const limit = 10 * time.Minute

// group is a measurement that gives several figures at once.
type group struct {
	ids []string
	run func(context.Context, *env) ([]Result, error)
}

func groups() []group {
	return []group{
		{[]string{"net.push_to_kernel.p50", "net.push_to_kernel.p99", "net.push_to_kernel.vs_no_record.p50"}, push},
		{[]string{"net.drift.p50", "net.drift.p99"}, drift},
		{[]string{"net.drift_10k.p50", "net.drift_10k.p99"}, drift10k},
		{bulkIDs(), bulk},
		{[]string{"net.list_own"}, list},
		{[]string{"start.exec_to_route.p50"}, start},
		{[]string{"op.journal_write.p99"}, opJournal},
		{[]string{"op.repave_overhead", "op.resume", "op.rss"}, opOnSite},
	}
}

func main() {
	lab.Main() // the first process of a site is this program again
	only := flag.String("bench", "", "run only ids with one of these prefixes, comma-separated")
	out := flag.String("out", "build/bench.json", "file for the JSON list")
	asRole := flag.String("role", "", "internal: run as a subject of a measurement")
	flag.Parse()
	if err := dispatch(*asRole, *only, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func dispatch(asRole, only, out string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	switch {
	case asRole != "":
		return role(ctx, asRole, flag.Args())
	case os.Geteuid() != 0:
		return asNamespaceRoot(ctx)
	}
	return run(ctx, strings.FieldsFunc(only, func(r rune) bool { return r == ',' || r == ' ' }), out)
}

// asNamespaceRoot runs the program again as root of a user namespace.
func asNamespaceRoot(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("cannot run as root of a user namespace (run as root where the kernel refuses that): %w", err)
	}
	return nil
}

func run(ctx context.Context, prefixes []string, out string) error {
	// The driver sits in blocking reads beside a gRPC server. With a scheduler slot
	// to spare it resumes when the kernel wakes it, not when the server pauses.
	runtime.GOMAXPROCS(4 * runtime.NumCPU())
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	wanted := func(id string) bool {
		return len(prefixes) == 0 || slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(id, p) })
	}
	e, err := newEnv()
	if err != nil {
		return err
	}
	defer e.close()
	results := []Result{}
	var failures []error
	for _, g := range groups() {
		if !slices.ContainsFunc(g.ids, wanted) {
			continue
		}
		begin := time.Now()
		fmt.Fprintf(os.Stderr, "measuring %s ...\n", strings.Join(g.ids, " "))
		got, err := g.run(ctx, e)
		if ctx.Err() != nil {
			// What was written before stays: half a run would pass for a whole one.
			return fmt.Errorf("ended early: %w", context.Cause(ctx))
		}
		if err != nil {
			failures = append(failures, fmt.Errorf("cannot measure %s: %w", g.ids[0], err))
			continue
		}
		fmt.Fprintf(os.Stderr, "  took %s\n", time.Since(begin).Round(100*time.Millisecond))
		results = append(results, slices.DeleteFunc(got, func(r Result) bool { return !wanted(r.ID) })...)
	}
	if len(results) == 0 && len(failures) == 0 {
		return fmt.Errorf("no benchmark has one of the prefixes %s", strings.Join(prefixes, ", "))
	}
	return errors.Join(writeJSON(out, results), writeTable(os.Stdout, results), errors.Join(failures...))
}
