//go:build soak

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"hybridagent/agent/operation/applied"
	"hybridagent/test/lab/actors"
)

const (
	// repaves is how many are asked for, on all hosts together.
	repaves = 50
	// ends bounds one repave, and recovers what the host then needs to be whole again.
	ends     = 2 * time.Minute
	recovers = 90 * time.Second
	// seedVariable holds the seed of an earlier run, to repeat its choices.
	seedVariable = "SOAK_SEED"
)

// TestRepavesThroughFaults: whatever happens during a repave, it ends; the node is Ready then on the version that root's record says, and the
// next repave can be asked for.
func TestRepavesThroughFaults(t *testing.T) {
	t.Parallel()
	seed := soakSeed(t)
	t.Logf("%s=%d", seedVariable, seed)
	s := openSite(t, plan{edges: 2})
	lanes := s.newLanes(seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	found := &tally{counts: make(map[string]map[string]int)}
	begin := time.Now()
	for n, r := range deal(rng, repaves/len(lanes), len(lanes)) {
		s.resetFaults(lanes)
		s.must(r.run(s, lanes, rng, found))
		if t.Failed() {
			t.Fatalf("round %d", n+1)
		}
	}
	restarted := 0
	for _, l := range lanes {
		restarted += l.restarted
	}
	t.Logf("%d repaves in %s; kubelet was started %d times in systemd's place\n%s", found.total(), time.Since(begin).Round(time.Second), restarted, found)
	if found.total() != repaves {
		t.Errorf("%d repaves ended, want %d", found.total(), repaves)
	}
}

func soakSeed(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv(seedVariable)
	if text == "" {
		return uint64(time.Now().UnixNano())
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("cannot use %s=%q: %v", seedVariable, text, err)
	}
	return seed
}

// round is a repave of every lane at the same time: with a fault of the site, or one each.
type round struct {
	site  *siteFault
	lanes []laneFault
}

// deal makes rounds in which each fault occurs before any occurs again.
func deal(rng *rand.Rand, rounds, lanes int) []round {
	var dealt []round
	for _, fault := range siteFaults() {
		dealt = append(dealt, round{site: &fault})
	}
	var hand, deck []laneFault
	for len(hand) < (rounds-len(dealt))*lanes {
		if len(deck) == 0 {
			deck = laneFaults()
			rng.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		}
		hand, deck = append(hand, deck[0]), deck[1:]
	}
	// A way back takes longest: those go together, or each would keep another lane waiting.
	slices.SortStableFunc(hand, func(a, b laneFault) int { return strings.Compare(fmt.Sprint(a.upgrades), fmt.Sprint(b.upgrades)) })
	for together := range slices.Chunk(hand, lanes) {
		dealt = append(dealt, round{lanes: together})
	}
	dealt = dealt[:rounds]
	rng.Shuffle(len(dealt), func(i, j int) { dealt[i], dealt[j] = dealt[j], dealt[i] })
	return dealt
}

// resetFaults puts pods onto every node and takes away what went wrong in the round before.
func (s *site) resetFaults(lanes []*lane) {
	s.t.Helper()
	for _, l := range lanes {
		s.must(l.setNodeadm(s.ctx))
	}
	s.must(errors.Join(s.aws.SetFaults(s.ctx, nil), s.aws.Allow(s.ctx), s.aws.SetPods(s.ctx, s.pods("*")...)))
}

// pods are two on every node; replacement is where the next one of each appears.
func (s *site) pods(replacement string) []actors.Pod {
	var pods []actors.Pod
	for name, id := range s.ids {
		for i := range 2 {
			pods = append(pods, actors.Pod{Namespace: "till", Name: fmt.Sprintf("till-%s-%d", name, i), Node: id, Replacement: replacement})
		}
	}
	return pods
}

// of is what goes wrong on the host of a lane.
func (r round) of(lane int) laneFault {
	if r.site != nil {
		return laneFault{name: r.site.name, upgrades: r.site.upgrades}
	}
	return r.lanes[lane]
}

// run repaves every lane and counts how that ended.
func (r round) run(s *site, lanes []*lane, rng *rand.Rand, found *tally) error {
	var wg sync.WaitGroup
	errs := make([]error, len(lanes)+1)
	if r.site != nil && r.site.before != nil {
		if err := r.site.before(s.ctx, s); err != nil {
			return err
		}
	}
	if r.site != nil && r.site.during != nil {
		wg.Go(func() {
			said, err := r.site.during(s.ctx, s, rng)
			s.t.Logf("%s: %s", r.site.name, said)
			errs[len(lanes)] = err
		})
	}
	for i, l := range lanes {
		fault := r.of(i)
		wg.Go(func() {
			state, err := l.repave(s.ctx, fault)
			if err != nil {
				err = fmt.Errorf("lane %d, %s: %w\n%s", l.n, fault.name, err, l.evidence())
			}
			found.add(fault.name, state)
			errs[i] = err
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// upgrading says whether the wanted Kubernetes version is another than the one in force.
func (l *lane) upgrading() bool {
	state, err := l.applied()
	return err == nil && state.KubernetesVersion != l.wanted.kubernetes
}

// repave asks for one repave and sees to it that it ends, and how the host is then.
func (l *lane) repave(ctx context.Context, fault laneFault) (string, error) {
	former, err := l.applied()
	if err != nil {
		return "", err
	}
	before, err := l.shown(ctx)
	if err != nil {
		return "", err
	}
	begin := time.Now()
	next := l.next(former, fault.upgrades)
	l.wanted = next
	said := []string{}
	for _, step := range []func(context.Context, *lane) (string, error){
		fault.before,
		func(ctx context.Context, l *lane) (string, error) { return l.ask(ctx, next) },
		fault.during,
	} {
		if step == nil {
			continue
		}
		text, err := step(ctx, l)
		if err != nil {
			return "", err
		}
		said = append(said, text)
	}
	id, state, message, err := l.ended(ctx, before.Operation.Progress.OperationID)
	if err != nil {
		return "", err
	}
	l.last = id
	took := time.Since(begin).Round(100 * time.Millisecond)
	if err := l.recover(ctx); err != nil {
		return state, fmt.Errorf("after operation %s ended as %s (%s): %w", id, state, message, err)
	}
	l.s.t.Logf("lane %d: %s %s: Kubernetes %s to %s %s in %s: %s", l.n, fault.name, strings.TrimSpace(strings.Join(said, " ")), former.KubernetesVersion, next.kubernetes, state, took, message)
	return state, l.fits(id, state, former.OperationID, next)
}

// next is what the pool is to want, which is never what is in force: after a repave that failed, sometimes the same again.
func (l *lane) next(former applied.State, upgrade bool) want {
	other := actors.KubernetesVersion
	if other == former.KubernetesVersion {
		other = actors.OlderKubernetes
	}
	if former.OperationID != l.last && (!upgrade || l.asked.kubernetes == other) && l.rng.IntN(2) == 0 {
		return l.asked
	}
	pods := 40 + l.version%20
	if upgrade || l.rng.IntN(3) > 0 {
		return want{other, pods}
	}
	return want{former.KubernetesVersion, pods}
}

// ask has the operator ask for the repave: by another version of the profile or, where the pool wants this already, by hybridctl repave.
func (l *lane) ask(ctx context.Context, next want) (string, error) {
	if next != l.asked {
		return "", l.choose(ctx, next)
	}
	_, err := l.s.operator.Run(ctx, "repave", l.pool)
	return "asked for again", err
}

// ended waits until plane and root agree that the operation after the former one has ended.
func (l *lane) ended(ctx context.Context, former string) (id, state, message string, err error) {
	err = l.until(ctx, "the end of the repave", ends, func(ctx context.Context) error {
		view, err := l.shown(ctx)
		if err != nil {
			return err
		}
		p := view.Operation.Progress
		id, state, message = p.OperationID, strings.ToLower(p.State), p.Message
		switch {
		case id == former:
			return errors.New("the plane has begun no operation")
		case !slices.Contains([]string{"succeeded", "failed", "aborted"}, state):
			return fmt.Errorf("operation %s is %s by the plane: %s; %s", id, state, message, view.Operation.Remark)
		}
		root, err := l.journal(ctx)
		if err == nil && root.ID == id && root.State != state {
			err = fmt.Errorf("operation %s is %s by the plane and %s by root", id, state, root.State)
		}
		return err
	})
	return id, state, message, err
}

// recover waits until the host is whole; kubelet is started where the runner without systemd ended it together with nodeadm.
func (l *lane) recover(ctx context.Context) error {
	running, err := l.programs(ctx, "kubelet")
	if err != nil {
		return err
	}
	if len(running) == 0 {
		l.restarted++
		if err := l.startKubelet(ctx); err != nil {
			return err
		}
	}
	return l.until(ctx, "a whole node", recovers, l.whole)
}

// fits is nil when root's record is what such an end leaves.
func (l *lane) fits(id, state, former string, next want) error {
	now, err := l.applied()
	switch {
	case err != nil:
		return err
	case state == "succeeded" && (now.OperationID != id || now.KubernetesVersion != next.kubernetes):
		return fmt.Errorf("operation %s succeeded; root's record is of operation %s with Kubernetes %s, want %s", id, now.OperationID, now.KubernetesVersion, next.kubernetes)
	case state != "succeeded" && now.OperationID != former:
		return fmt.Errorf("operation %s %s; root's record is of operation %s, and was of %s", id, state, now.OperationID, former)
	}
	return nil
}

// evidence is what to look at when a repave did not end as it must.
func (l *lane) evidence() string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.s.ctx), 10*time.Second)
	defer cancel()
	shown, err := l.edge.Host.Exec(ctx, "/usr/libexec/hybrid-agent/hybrid-agent-op", "show")
	pool, _ := l.s.operator.Run(ctx, "get", "pools", l.pool, "-o", "json")
	return fmt.Sprintf("root's journal (%v):\n%s\nthe end of root's log:\n%s\nthe pool:\n%s", err, shown, l.edge.Op.Tail(60), pool)
}

// tally counts how repaves ended, by fault.
type tally struct {
	mu     sync.Mutex
	counts map[string]map[string]int
}

func (f *tally) add(fault, state string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.counts[fault] == nil {
		f.counts[fault] = make(map[string]int)
	}
	f.counts[fault][state]++
}

func (f *tally) total() int {
	n := 0
	for _, states := range f.counts {
		for _, count := range states {
			n += count
		}
	}
	return n
}

// String is the table of faults and ends.
func (f *tally) String() string {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "FAULT\tSUCCEEDED\tFAILED\tABORTED\t")
	for _, fault := range slices.Sorted(maps.Keys(f.counts)) {
		c := f.counts[fault]
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t\n", fault, c["succeeded"], c["failed"], c["aborted"])
	}
	_ = w.Flush()
	return out.String()
}
