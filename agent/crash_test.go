package agent

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/zap/zaptest"

	"hybridagent/agent/config"
	"hybridagent/agent/internal/planetest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	localv1 "hybridagent/proto/hybrid/local/v1"
)

// Environment of a daemon in a process of its own, which can be killed.
const (
	daemonConfig = "HYBRID_AGENT_TEST_CONFIG"
	daemonCrash  = "HYBRID_AGENT_TEST_CRASH"
)

// TestDaemonProcess is no test: it is the process that crash tests start.
func TestDaemonProcess(t *testing.T) {
	text := os.Getenv(daemonConfig)
	if text == "" {
		return
	}
	cfg, err := config.Parse("config.yaml", strings.NewReader(text))
	ok(t, err)
	point := os.Getenv(daemonCrash)
	ok(t, Run(context.Background(), Options{
		Config: cfg, Version: "v1.2.3", Log: zaptest.NewLogger(t), Door: &fakeDoor{runner: "direct"},
		crash: func(at string) {
			if at == point {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		},
	}))
}

// process runs the machine's daemon in a process that is killed at a point; empty:
// at the end of the test. The returned channel is closed when it is gone.
func (m *machine) process(point string) (gone chan struct{}, kill func()) {
	m.t.Helper()
	cmd := exec.CommandContext(m.t.Context(), "/proc/self/exe", "-test.run=^TestDaemonProcess$", "-test.v")
	cmd.Env = append(os.Environ(), daemonConfig+"="+m.text, daemonCrash+"="+point)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	ok(m.t, cmd.Start())
	gone = make(chan struct{})
	go func() { defer close(gone); _ = cmd.Wait() }()
	kill = func() { _ = cmd.Process.Kill(); <-gone }
	m.t.Cleanup(kill)
	return gone, kill
}

// crashPoint is where the daemon is killed while generation 2 comes.
type crashPoint struct {
	at string
	// via is the VPN server that generation 2 brings.
	via string
	// want is the route at the next start without the plane; empty: none.
	want string
	// taken says what becomes of generation 2 once the plane is back.
	taken bool
}

// TestKilledAtEachPointOfATrial: the next start finds the way back on disk, with
// the kernel as the kill left it, and as a power cut does.
func TestKilledAtEachPointOfATrial(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	site(t)
	router(t)
	for _, first := range []bool{false, true} {
		for _, c := range crashPoints(first) {
			for _, power := range []bool{false, true} {
				name := c.at
				if first {
					name += " of a first install"
				}
				if power {
					name += " and the power"
				}
				t.Run(name, func(t *testing.T) { killed(t, c, first, power) })
			}
		}
	}
}

func crashPoints(first bool) []crashPoint {
	const good, hole = "10.200.0.4", "10.200.0.3"
	former := viaFormer
	if first {
		former = ""
	}
	points := []crashPoint{
		{"before-record", good, former, true},
		{"recorded", good, former, first},
		{"in-kernel", good, former, first},
		{"before-confirm", good, former, first},
		{"confirmed", good, viaOther, true},
		{"assignment-saved", good, viaOther, true},
	}
	if !first { // a first install through a black hole is no worse than no route
		points = append(points, crashPoint{"rolled-back-in-kernel", hole, former, false})
	}
	return points
}

func killed(t *testing.T, c crashPoint, first, power bool) {
	t.Helper()
	plane := planetest.New(t)
	plane.Start()
	m := newMachine(t, plane)
	m.text = strings.Replace(m.text, "resyncInterval: 0", "resyncInterval: 0, trialTimeout: 5s", 1)
	if !first {
		_, kill := m.process("")
		m.awaitCondition(ConditionRegistered, "true", "Connected")
		plane.Assign(1, through("10.200.0.2"))
		plane.Await("ACK", answered(1))
		kill()
	}
	gone, _ := m.process(c.at)
	m.awaitCondition(ConditionRegistered, "true", "Connected")
	if !first {
		m.awaitCondition(ConditionPathHealthy, "true", "Healthy")
	}
	plane.Assign(2, through(c.via))
	<-gone
	plane.Stop()
	if power {
		for range routes(t) {
			deleteRoute(t, "10.100.0.0/16")
		}
	}
	_, kill := m.process("")
	m.awaitRoutes(c.want)
	plane.Start()
	m.awaitCondition(ConditionRegistered, "true", "Connected")
	plane.Assign(2, through(c.via))
	plane.Await("the answer", func(message *agentv1.AgentMessage) bool {
		r := message.GetAssignmentResult()
		return r.GetGeneration() == 2 && r.GetAccepted() == c.taken
	})
	if c.taken {
		m.awaitRoutes(viaOther)
	} else {
		m.awaitRoutes(c.want)
	}
	kill()
	for range routes(t) {
		deleteRoute(t, "10.100.0.0/16")
	}
}

// awaitRoutes waits until the daemon has passed its stages, and the kernel holds
// just that route of ours; empty: none.
func (m *machine) awaitRoutes(want string) {
	m.t.Helper()
	m.await("route "+want, func(*localv1.Status) bool {
		got := routes(m.t)
		return len(got) == 0 && want == "" || len(got) == 1 && got[0] == want
	})
}
