package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
	localv1 "hybridagent/proto/hybrid/local/v1"
)

const testOperation = "k5usvxksot7mtg3kemgitu56yq"

func forecast() *agentv1.Forecast {
	step := func(name, what string, takes time.Duration) *agentv1.ForecastStep {
		return &agentv1.ForecastStep{Name: name, What: what, Duration: durationpb.New(takes)}
	}
	return &agentv1.Forecast{
		Path:    "upgrade",
		Reasons: []string{"Kubernetes 1.31.5 is in force, 1.32.1 is wanted", "1.32.1 is one minor version newer, which kubelet may be"},
		Steps: []*agentv1.ForecastStep{
			step("preflight", "check API, disk, version skew and artifacts", 2*time.Second),
			step("drain", "evict the pods that may be evicted, and wait until they have ended elsewhere", time.Minute),
			{Name: "nodeadm-upgrade", What: "nodeadm upgrade to 1.32.1"},
		},
		FetchBytes: 234 << 20, UnknownFetch: true, Duration: durationpb.New(4 * time.Minute), Downtime: durationpb.New(3 * time.Minute),
	}
}

func underWay(now time.Time) *agentv1.OperationProgress {
	return &agentv1.OperationProgress{
		OperationId: testOperation, Kind: agentv1.OperationKind_OPERATION_KIND_REPAVE, State: agentv1.OperationState_OPERATION_STATE_RUNNING,
		Step: "drain", Percent: 40, StartedAt: timestamppb.New(now.Add(-90 * time.Second)), EstimatedEndAt: timestamppb.New(now.Add(200 * time.Second)),
		LogLines: []string{"evicting shop/till-0", "waiting for 3 pods: shop/till-0, shop/till-1, shop/a-pod-with-a-rather-long-name-that-does-not-fit"},
		Forecast: forecast(), Abortable: true,
	}
}

func ended(now time.Time, state agentv1.OperationState, message string) *agentv1.OperationProgress {
	p := underWay(now)
	p.State, p.Message, p.Abortable, p.EndedAt, p.EstimatedEndAt = state, message, false, timestamppb.New(now), nil
	return p
}

func TestOperationText(t *testing.T) {
	t.Parallel()
	now := time.Now()
	failed := ended(now, agentv1.OperationState_OPERATION_STATE_FAILED, "the PodDisruptionBudget shop/till lets no pod go; free it, or repave with disableEviction")
	failed.LogLines = nil
	for _, c := range []struct {
		name     string
		progress *agentv1.OperationProgress
		want     string
	}{
		{"running", underWay(now), `
Operation   repave k5usvxksot7mtg3kemgitu56yq
State       running at drain, 40 %
Time        began 1m ago, about 3m left
Path        upgrade
            - Kubernetes 1.31.5 is in force, 1.32.1 is wanted
            - 1.32.1 is one minor version newer, which kubelet may be
Abort       possible: "hybrid-agent operation abort" takes back what was changed
Log         evicting shop/till-0
            waiting for 3 pods: shop/till-0, shop/till-1,
            shop/a-pod-with-a-rather-long-name-that-does-not-fit

STEP             STATE      TAKES  WHAT
preflight        done          2s  check API, disk, version skew and artifacts
drain            running       1m  evict the pods that may be evicted, and wait
                                   until they have ended elsewhere
nodeadm-upgrade  -              ?  nodeadm upgrade to 1.32.1
`},
		{"failed", failed, `
Operation   repave k5usvxksot7mtg3kemgitu56yq
State       failed at drain
Time        took 1m, ended 0s ago
Path        upgrade
            - Kubernetes 1.31.5 is in force, 1.32.1 is wanted
            - 1.32.1 is one minor version newer, which kubelet may be
Message     the PodDisruptionBudget shop/till lets no pod go; free it, or repave
            with disableEviction

STEP             STATE      TAKES  WHAT
preflight        done          2s  check API, disk, version skew and artifacts
drain            failed        1m  evict the pods that may be evicted, and wait
                                   until they have ended elsewhere
nodeadm-upgrade  -              ?  nodeadm upgrade to 1.32.1
`},
		{"refused before it began", &agentv1.OperationProgress{State: agentv1.OperationState_OPERATION_STATE_REFUSED, Message: "forged", EndedAt: timestamppb.New(now)}, `
Operation   unspecified that this host cannot verify
State       refused
Time        ended 0s ago
Message     forged
`},
	} {
		var out bytes.Buffer
		writeOperation(&out, c.progress, now)
		requireText(t, c.name, out.String(), c.want)
	}
}

func requireText(t *testing.T, name, got, want string) {
	t.Helper()
	if want = strings.TrimPrefix(want, "\n"); got != want {
		t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
	}
	for line := range strings.Lines(got) {
		if len([]rune(strings.TrimSuffix(line, "\n"))) > width {
			t.Errorf("%s: more than %d columns: %s", name, width, line)
		}
	}
}

func TestForecastText(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	refused := forecast()
	refused.Refusal = "the disk has 100 MiB free and 234 MiB are needed; free some below /var"
	writeForecast(&out, refused)
	requireText(t, "refused", out.String(), `
Path        upgrade
            - Kubernetes 1.31.5 is in force, 1.32.1 is wanted
            - 1.32.1 is one minor version newer, which kubelet may be
Fetches     234.0 MiB, and more that nobody has told the size of
Takes       about 4m
Downtime    pods do not run on this node for about 3m
Refused     the disk has 100 MiB free and 234 MiB are needed; free some below
            /var

STEP             STATE      TAKES  WHAT
preflight        -             2s  check API, disk, version skew and artifacts
drain            -             1m  evict the pods that may be evicted, and wait
                                   until they have ended elsewhere
nodeadm-upgrade  -              ?  nodeadm upgrade to 1.32.1
`)
	out.Reset()
	writeForecast(&out, &agentv1.Forecast{Downtime: durationpb.New(0)})
	requireText(t, "nothing", out.String(), `
Path        none
Fetches     nothing
Downtime    none: pods go on running
`)
}

func TestProgressLine(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, c := range []struct {
		progress *agentv1.OperationProgress
		now      time.Time
		want     string
	}{
		{underWay(now), now, " 40 %  drain (step 2 of 3), about 3m left: waiting for 3 pods: shop/till-0, sho…"},
		{underWay(now), time.Time{}, " 40 %  drain (step 2 of 3): waiting for 3 pods: shop/till-0, shop/till-1, shop/…"},
		{ended(now, agentv1.OperationState_OPERATION_STATE_SUCCEEDED, ""), now, "repave succeeded"},
		{ended(now, agentv1.OperationState_OPERATION_STATE_ABORTED, ""), now, "repave aborted at drain"},
		{&agentv1.OperationProgress{State: agentv1.OperationState_OPERATION_STATE_PENDING}, now, "  0 %  pending"},
	} {
		if got := cut(progressLine(c.progress, c.now), width); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestOperationShow(t *testing.T) {
	t.Parallel()
	socket := serve(t, &localv1.Status{Operation: underWay(time.Now())})
	for _, args := range [][]string{{"show"}, {"show", testOperation}} {
		code, stdout, stderr := run(t, append(append([]string{"operation"}, args...), "--socket", socket)...)
		if code != 0 || !strings.Contains(stdout, "running at drain, 40 %") {
			t.Errorf("%v: exit %d, %q, %q", args, code, stdout, stderr)
		}
	}
	code, stdout, _ := run(t, "operation", "show", "--socket", socket, "-o", "json")
	if code != 0 || !strings.Contains(stdout, `"operation_id"`) || !strings.Contains(stdout, `"abortable"`) {
		t.Errorf("exit %d, %q", code, stdout)
	}
	code, _, stderr := run(t, "operation", "show", strings.Repeat("0", 26), "--socket", socket)
	if code != exitUnhealthy || !strings.Contains(stderr, "there was no such operation on this host") {
		t.Errorf("unknown: exit %d, %q", code, stderr)
	}
	code, _, stderr = run(t, "operation", "show", "../../etc/passwd", "--socket", socket)
	if code != exitUsage || !strings.Contains(stderr, "is no operation ID") {
		t.Errorf("no ID: exit %d, %q", code, stderr)
	}
	if code, _, _ = run(t, "operation", "show", "--socket", socket+".none"); code != exitUnreachable {
		t.Errorf("no daemon: exit %d", code)
	}
}

func TestOperationWatch(t *testing.T) {
	t.Parallel()
	for state, want := range map[agentv1.OperationState]int{
		agentv1.OperationState_OPERATION_STATE_SUCCEEDED: 0,
		agentv1.OperationState_OPERATION_STATE_FAILED:    exitUnhealthy,
		agentv1.OperationState_OPERATION_STATE_REFUSED:   exitUnhealthy,
		agentv1.OperationState_OPERATION_STATE_ABORTED:   exitAborted,
	} {
		socket := serve(t, &localv1.Status{Operation: ended(time.Now(), state, "because of this")})
		code, stdout, stderr := run(t, "operation", "watch", "--socket", socket)
		if code != want || !strings.Contains(stdout, "because of this\n") {
			t.Errorf("%v: exit %d, %q, %q", state, code, stdout, stderr)
		}
	}
	code, _, _ := run(t, "operation", "watch", "--socket", serve(t, &localv1.Status{}))
	if code != exitUnhealthy {
		t.Errorf("none: exit %d", code)
	}
}

func TestOperationPlan(t *testing.T) {
	t.Parallel()
	socket := serve(t, &localv1.Status{Forecast: forecast()})
	if code, stdout, _ := run(t, "operation", "plan", "--socket", socket); code != 0 || !strings.Contains(stdout, "about 4m") {
		t.Errorf("exit %d, %q", code, stdout)
	}
	if code, stdout, _ := run(t, "operation", "plan", "--kind", "repave", "-o", "yaml", "--socket", socket); code != 0 || !strings.Contains(stdout, "path: upgrade") {
		t.Errorf("exit %d, %q", code, stdout)
	}
	code, _, stderr := run(t, "operation", "plan", "--kind", "leave", "--socket", socket)
	if code != exitUnhealthy || !strings.Contains(stderr, "cannot plan: the host is in no pool") {
		t.Errorf("exit %d, %q", code, stderr)
	}
	if code, _, _ = run(t, "operation", "plan", "--kind", "abort", "--socket", socket); code != exitUsage {
		t.Errorf("exit %d", code)
	}
	refused := forecast()
	refused.Refusal = "the disk is full"
	code, stdout, _ := run(t, "operation", "plan", "--socket", serve(t, &localv1.Status{Forecast: refused}))
	if code != exitUnhealthy || !strings.Contains(stdout, "Refused     the disk is full") {
		t.Errorf("exit %d, %q", code, stdout)
	}
}

func TestAmount(t *testing.T) {
	t.Parallel()
	for bytes, want := range map[uint64]string{0: "0 bytes", 1023: "1023 bytes", 1536: "1.5 KiB", 234 << 20: "234.0 MiB", 5 << 40: "5.0 TiB", 1 << 62: "4194304.0 TiB"} {
		if got := amount(bytes); got != want {
			t.Errorf("%d: %s, want %s", bytes, got, want)
		}
	}
}
