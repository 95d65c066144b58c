//go:build soak

package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"time"

	"hybridagent/agent/operation/applied"
	standin "hybridagent/test/fakenodeadm/lab"
	"hybridagent/test/lab"
	"hybridagent/test/lab/actors"
)

// lane is one edge host in a pool of its own, repaved again and again.
type lane struct {
	s    *site
	n    int
	edge *actors.Edge
	// id of the host, pool its pool's name.
	id, pool string
	rng      *rand.Rand

	// wanted is what this repave is for, asked what the pool's profile version says; version counts those, last is the last operation.
	wanted, asked want
	version       int
	last          string
	// restarted counts kubelets that the lane started in systemd's place after an operation.
	restarted int
}

// want is what tells one profile version of the soak from another.
type want struct {
	kubernetes string
	maxPods    int
}

// sleep lets up to limit go by, and answers how long it was.
func (l *lane) sleep(ctx context.Context, limit time.Duration) time.Duration {
	d := time.Duration(l.rng.Int64N(int64(limit)))
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return d.Round(time.Millisecond)
}

// choose has the operator choose a version of the profile for the pool; the version is new.
func (l *lane) choose(ctx context.Context, w want) error {
	l.asked, l.version = w, l.version+1
	version := fmt.Sprintf("%d.%d.0", l.n, l.version)
	profile, err := actors.ProfileYAML(actors.Profile{Version: version, Kubernetes: w.kubernetes, MaxPods: w.maxPods, DrainSeconds: 4})
	if err != nil {
		return err
	}
	pool, err := actors.PoolYAMLOf(strings.ToUpper(runtime.GOARCH), version, []actors.PoolMember{
		{HostID: l.id, HostName: fmt.Sprintf("till-%d", l.n), NIC: "auto", VPNServer: lab.VPNServer},
	})
	if err != nil {
		return err
	}
	pool = strings.Replace(pool, "name: "+actors.PoolName, "name: "+l.pool, 1)
	return l.s.operator.Apply(ctx, fmt.Sprintf("repave-%d.yaml", l.n), profile+"---\n"+pool)
}

// applied is root's record of what is in force.
func (l *lane) applied() (applied.State, error) {
	state, found, err := applied.ReadState(l.edge.Host.Path("/var/lib/hybrid-agent-op"))
	if err == nil && !found {
		err = errors.New("root has no record of what is in force")
	}
	return state, err
}

// planeView is an operation as hybridctl operation show has it.
type planeView struct {
	Operation struct {
		Progress struct {
			OperationID string `json:"operationId"`
			State       string `json:"state"`
			Message     string `json:"message"`
		} `json:"progress"`
		Remark string `json:"remark"`
	} `json:"operation"`
}

func (l *lane) shown(ctx context.Context) (planeView, error) {
	var view planeView
	out, err := l.s.operator.Run(ctx, "operation", "show", l.id, "-o", "json")
	if err == nil {
		err = json.Unmarshal([]byte(out), &view)
	}
	return view, err
}

// rootView is an operation as root's journal has it.
type rootView struct {
	ID, State, Step, Message string
	Records                  []struct{ Kind, Step, Message string }
}

func (l *lane) journal(ctx context.Context) (rootView, error) {
	var view rootView
	out, err := l.edge.Host.Exec(ctx, "/usr/libexec/hybrid-agent/hybrid-agent-op", "show", "-o", "json")
	if err == nil {
		err = json.Unmarshal([]byte(out), &view)
	}
	return view, err
}

// setNodeadm sets what nodeadm and kubelet do wrong on this host, and lets what happens once happen again.
func (l *lane) setNodeadm(ctx context.Context, faults ...standin.Fault) error {
	settings, err := json.Marshal(standin.Settings{Direct: true, TimeScale: 0.05, Faults: faults})
	if err != nil {
		return err
	}
	_, forgotten := l.edge.Host.Exec(ctx, "sh", "-c", "rm -f /run/fakenodeadm/once-*")
	return errors.Join(forgotten, l.edge.Host.WriteFile("/run/hybrid-lab/fakenodeadm.json", settings, 0o644, 0, 0))
}

// startUnit starts kubelet as systemd would: by its unit file, where it is enabled. The stand-in finds it again by its PID file.
const startUnit = `set -f
unit=/etc/systemd/system/kubelet.service
[ -e /etc/systemd/system/multi-user.target.wants/kubelet.service ] || exit 0
mkdir -p /run/fakenodeadm
set -a
eval "$(sed -n 's/^Environment=\(.*\)$/\1/p' $unit)"
for file in $(sed -n 's/^EnvironmentFile=-*//p' $unit); do . "$file"; done
set +a
start=$(sed -e ':a' -e '/\\$/N; s/\\\n/ /; ta' $unit | sed -n 's/^ExecStart=//p')
eval "setsid $start >>/run/fakenodeadm/kubelet.log 2>&1 &"
echo "$! ${start%% *}" > /run/fakenodeadm/kubelet.pid
`

// startKubelet does systemd's part at boot, and where the runner without systemd has taken kubelet away with a nodeadm that it ended.
func (l *lane) startKubelet(ctx context.Context) error {
	out, err := l.edge.Host.Command(ctx, "sh", "-c", startUnit).CombinedOutput()
	if err != nil {
		return fmt.Errorf("cannot start kubelet on %s: %w: %s", l.edge.Host.Name, err, out)
	}
	return nil
}

// boot brings the host up after a power cut.
func (l *lane) boot(ctx context.Context) error {
	if err := l.s.BootNetwork(ctx, l.n); err != nil {
		return err
	}
	return errors.Join(l.edge.Boot(), l.startKubelet(ctx))
}

// programs lists the command lines of the host's processes whose program has that name.
func (l *lane) programs(ctx context.Context, name string) ([]string, error) {
	const list = `for p in /proc/[0-9]*; do tr '\0' ' ' 2>/dev/null < $p/cmdline && echo; done; true`
	out, err := l.edge.Host.Exec(ctx, "sh", "-c", list)
	var found []string
	for line := range strings.Lines(out) {
		program, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if program[strings.LastIndexByte(program, '/')+1:] == name {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found, err
}

// until waits like site.await and answers with an error: lanes run beside the test's own goroutine.
func (l *lane) until(ctx context.Context, what string, limit time.Duration, check func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return lab.Until(ctx, what, 250*time.Millisecond, check)
}

// newLanes makes a site with a Ready node in a pool of its own per lane.
func (s *site) newLanes(seed uint64) []*lane {
	s.t.Helper()
	var lanes []*lane
	for n := 1; n <= s.plan.edges; n++ {
		l := &lane{s: s, n: n, edge: s.edges[n-1], id: s.ids[lab.EdgeName(n)], pool: fmt.Sprintf("lane-%d", n), rng: rand.New(rand.NewPCG(seed, uint64(n)))}
		s.must(l.choose(s.ctx, want{actors.KubernetesVersion, 60}))
		lanes = append(lanes, l)
	}
	for _, l := range lanes {
		s.await("a Ready node on "+l.edge.Host.Name, bound, func(ctx context.Context) error {
			view, err := l.shown(ctx)
			l.last = view.Operation.Progress.OperationID
			if p := view.Operation.Progress; err == nil && cmp.Or(p.State, "none") != "Succeeded" {
				err = fmt.Errorf("operation %s is %q: %s", p.OperationID, p.State, p.Message)
			}
			return errors.Join(err, l.whole(ctx))
		})
	}
	return lanes
}
