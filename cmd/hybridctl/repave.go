package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hybridagent/plane/kind"
	"hybridagent/plane/manifest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// defaultRepaveTimeout is how long the repave of a pool is waited for.
const defaultRepaveTimeout = 2 * time.Hour

// repaving is one call of 'repave'.
type repaving struct {
	pool    string
	hosts   []string
	force   bool
	mild    bool
	dryRun  bool
	wait    bool
	timeout time.Duration
	out     output
}

func newRepave(g *globals) *cobra.Command {
	r := &repaving{}
	cmd := &cobra.Command{
		Use:   "repave POOL",
		Short: "Bring the nodes of a pool to what it wants, one host at a time",
		Long: `Bring the nodes of a pool to what it wants, one host at a time in the pool's
order: hosts on which nothing differs are left alone, one that is not connected
is repaved when it is back, and one that fails stops the repave until it is asked
for again. Choosing another profile version for a pool starts the same by itself;
every other change waits for this command.

--dry-run shows what would be done, with each host's own forecast. Ctrl-C ends
the waiting, not the repave; 'hybridctl operation abort HOST' ends that.

Exit codes: 0 done (with --wait: every host is), 1 refused, or a host failed, 2
wrong usage, 3 plane unreachable, 4 the repave goes on ('hybridctl get pool POOL'
shows it).`,
		Example: "  hybridctl repave shop-1 --dry-run\n  hybridctl repave shop-1 --wait\n  hybridctl repave shop-1 --host edge-1 --force",
		Args:    usage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := r.out.check(); err != nil {
				return err
			}
			switch {
			case r.timeout <= 0:
				return usageError{fmt.Errorf("--timeout %s is not longer than nothing", r.timeout)}
			case r.dryRun && r.wait:
				return usageError{fmt.Errorf("--dry-run does nothing that --wait could wait for")}
			}
			r.pool = args[0]
			return g.callFor(cmd.Context(), r.timeout, func(ctx context.Context, c planev1.PlaneServiceClient) error {
				return r.run(ctx, cmd, g, c)
			})
		},
	}
	cmd.Flags().StringArrayVar(&r.hosts, "host", nil, "a host of the pool, once for each; default all")
	cmd.Flags().BoolVar(&r.force, "force", false, "also hosts on which nothing differs, and while the Kubernetes API is out of reach")
	cmd.Flags().BoolVar(&r.mild, "reconfigure-only", false, "only what needs no drain; a host that needs more refuses, and the repave stops")
	cmd.Flags().BoolVar(&r.dryRun, "dry-run", false, "show what would be done, and do nothing")
	cmd.Flags().BoolVar(&r.wait, "wait", false, "wait for the end of the repave")
	cmd.Flags().DurationVar(&r.timeout, "timeout", defaultRepaveTimeout, "with --wait, how long to wait for the end")
	r.out.register(cmd)
	return cmd
}

func (r *repaving) run(ctx context.Context, cmd *cobra.Command, g *globals, c planev1.PlaneServiceClient) error {
	first, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	resp, err := c.Repave(first, &planev1.RepaveRequest{Pool: r.pool, HostIds: r.hosts, Force: r.force, DryRun: r.dryRun, ReconfigureOnly: r.mild})
	if err != nil {
		return err
	}
	if !r.wait {
		return r.write(cmd.OutOrStdout(), resp)
	}
	w := &rolloutWait{call: c, pool: r.pool, each: g.timeout, progress: newProgress(cmd.ErrOrStderr(), time.Now)}
	w.progress.say(fmt.Sprintf("NodePool %s: %d hosts are to be repaved", r.pool, count(resp.GetHosts())))
	last, err := w.wait(ctx)
	if err != nil {
		return w.goesOn(r.timeout, err)
	}
	if err := r.writeEnd(cmd.OutOrStdout(), last); err != nil {
		return err
	}
	if last.GetState() == planev1.RolloutState_ROLLOUT_STATE_STOPPED {
		return fmt.Errorf("the repave of NodePool %s has stopped: %s", r.pool, last.GetMessage())
	}
	return nil
}

func count(hosts []*planev1.RepaveHost) int {
	n := 0
	for _, h := range hosts {
		if h.GetRepave() {
			n++
		}
	}
	return n
}

func (r *repaving) writeEnd(w io.Writer, ro *planev1.RolloutStatus) error {
	if r.out.format != outputTable {
		return r.out.value(w, map[string]any{"pool": r.pool, "rollout": manifest.Message(ro)})
	}
	if ro.GetState() == planev1.RolloutState_ROLLOUT_STATE_DONE {
		fmt.Fprintf(w, "NodePool %s: %d of %d hosts are repaved\n", r.pool, ro.GetDone(), ro.GetHosts())
	}
	return nil
}

// write shows what will be done, or would be.
func (r *repaving) write(w io.Writer, resp *planev1.RepaveResponse) error {
	if r.out.format != outputTable {
		hosts := make([]any, 0, len(resp.GetHosts()))
		for _, h := range resp.GetHosts() {
			hosts = append(hosts, manifest.Message(h))
		}
		return r.out.value(w, map[string]any{"pool": r.pool, "dryRun": r.dryRun, "hosts": hosts})
	}
	if len(resp.GetHosts()) == 0 {
		fmt.Fprintf(w, "NodePool %s has no hosts\n", r.pool)
		return nil
	}
	t := &table{head: []string{"HOST", "REPAVE", "PATH", "FETCHES", "DOWNTIME", "TAKES"}}
	for _, h := range resp.GetHosts() {
		repaveRow(t, h)
	}
	t.write(w)
	if !r.dryRun {
		fmt.Fprintf(w, "\n'hybridctl get pool %s' shows how far it is\n", r.pool)
	}
	return nil
}

func repaveRow(t *table, h *planev1.RepaveHost) {
	will := cell{text: "no", style: styleGood}
	if h.GetRepave() {
		will = cell{text: "yes", style: styleWait}
	}
	f := h.GetForecast()
	if !h.GetRepave() {
		f = nil
	}
	t.add(text(h.GetHostId()), will, text(orDash(f.GetPath())), text(fetches(f)), text(span(f.GetDowntime().AsDuration())), text(span(f.GetDuration().AsDuration())))
	var notes []string
	if h.GetReason() != "" {
		notes = append(notes, h.GetReason())
	}
	if h.GetRepave() && len(h.GetFields()) > 0 {
		notes = append(notes, "differs in "+strings.Join(h.GetFields(), ", "))
	}
	notes = append(notes, f.GetReasons()...)
	if len(f.GetSteps()) > 0 {
		notes = append(notes, "steps: "+strings.Join(stepNames(f), ", "))
	}
	t.note(notes...)
}

func stepNames(f *agentv1.Forecast) []string {
	var out []string
	for _, s := range f.GetSteps() {
		out = append(out, s.GetName())
	}
	return out
}

// fetches is what is downloaded.
func fetches(f *agentv1.Forecast) string {
	switch {
	case f == nil:
		return "-"
	case f.GetFetchBytes() == 0 && f.GetUnknownFetch():
		return "unknown"
	case f.GetUnknownFetch():
		return "over " + bytesText(f.GetFetchBytes())
	case f.GetFetchBytes() == 0:
		return "nothing"
	default:
		return bytesText(f.GetFetchBytes())
	}
}

func bytesText(n uint64) string {
	const mib = 1 << 20
	if n < mib {
		return fmt.Sprintf("%d KiB", (n+1023)>>10)
	}
	return fmt.Sprintf("%d MiB", (n+mib-1)>>20)
}

// span is a time for people; none is not known.
func span(d time.Duration) string {
	if d <= 0 {
		return "-"
	}
	if d >= time.Minute {
		return d.Round(time.Second).String()
	}
	return d.Round(100 * time.Millisecond).String()
}

// rolloutWait waits for the end of a pool's repave.
type rolloutWait struct {
	call     planev1.PlaneServiceClient
	pool     string
	each     time.Duration
	progress *progress
}

func (w *rolloutWait) wait(ctx context.Context) (*planev1.RolloutStatus, error) {
	var last *planev1.RolloutStatus
	err := poll(ctx, w.progress, func() (bool, error) {
		each, cancel := context.WithTimeout(ctx, w.each)
		defer cancel()
		resp, err := w.call.Get(each, &planev1.GetRequest{Kind: kind.Pool, Name: w.pool})
		if err != nil {
			return false, err
		}
		if last = resp.GetResource().GetNodePoolStatus().GetRollout(); last == nil {
			return false, fmt.Errorf("NodePool %s was made anew meanwhile", w.pool)
		}
		w.progress.update(rolloutLine(last))
		return last.GetState() != planev1.RolloutState_ROLLOUT_STATE_RUNNING, nil
	})
	return last, err
}

func (w *rolloutWait) goesOn(timeout time.Duration, err error) error {
	where := fmt.Sprintf("'hybridctl get pool %s' shows how far it is", w.pool)
	return waitError(err, "the repave of NodePool "+w.pool, where, timeout)
}

// rolloutLine is how far a repave is, in a line.
func rolloutLine(ro *planev1.RolloutStatus) string {
	line := fmt.Sprintf("%d of %d done", ro.GetDone(), ro.GetHosts())
	if ro.GetMessage() != "" {
		line += "; " + ro.GetMessage()
	}
	return line
}
