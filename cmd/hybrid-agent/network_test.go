package main

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"hybridagent/agent/local"
	localv1 "hybridagent/proto/hybrid/local/v1"
)

// trials answers for a daemon with or without a trial.
type trials struct {
	err    error
	called []string
}

func (a *trials) act(name string) error {
	a.called = append(a.called, name)
	return a.err
}

func (a *trials) ConfirmNetwork() error  { return a.act("confirm") }
func (a *trials) RollbackNetwork() error { return a.act("rollback") }
func (a *trials) RetryNetwork() error    { return a.act("retry") }

func switching(now time.Time) *localv1.Status {
	return &localv1.Status{Network: &localv1.NetworkState{
		Nic: "lan0", NodeIp: "10.200.0.11", VpnServer: "10.200.0.4", Routes: []string{"10.100.0.0/16 via 10.200.0.4 dev lan0"},
		VpnServers: []*localv1.VPNServer{
			{Address: "10.200.0.4", Active: true, Ok: true, Rtt: durationpb.New(3 * time.Millisecond), Since: timestamppb.New(now)},
			{Address: "10.200.0.5", Error: "no answer within 2s", Since: timestamppb.New(now.Add(-2 * time.Minute))},
		},
		Trial: &localv1.NetworkTrial{
			Origin: "operation abc", Change: "VPN servers 10.200.0.4, 10.200.0.5 instead of 10.200.0.2",
			Deadline: timestamppb.New(now.Add(30*time.Second + time.Second/2)), Reason: "the plane has not answered yet",
		},
		RolledBack: &localv1.NetworkTrial{
			Origin: "assignment 7", Change: "VPN servers 10.200.0.3 instead of 10.200.0.2", Reason: "the VPC did not answer",
			BeganAt: timestamppb.New(now.Add(-time.Hour)),
		},
	}}
}

func serveActor(t *testing.T, status *localv1.Status, actor local.Actor) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.sock")
	listener, err := local.Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	server := local.NewServer(zaptest.NewLogger(t), listener, source{status}, actor)
	go func() { done <- server.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return path
}

func TestNetworkIsShown(t *testing.T) {
	t.Parallel()
	socket := serveActor(t, switching(time.Now()), &trials{})
	code, stdout, stderr := run(t, "network", "--socket", socket)
	want := strings.TrimLeft(`
Network     lan0 with node IP 10.200.0.11, VPN server 10.200.0.4
            10.100.0.0/16 via 10.200.0.4 dev lan0
            VPN server 10.200.0.4 in use, answers in 3.00 ms
            VPN server 10.200.0.5 standby, silent for 2m: no answer within 2s
            on trial for another 30s: VPN servers 10.200.0.4, 10.200.0.5 instead
            of 10.200.0.2 (operation abc); the plane has not answered yet
            rolled back 1h ago: VPN servers 10.200.0.3 instead of 10.200.0.2
            (assignment 7): the VPC did not answer
`, "\n")
	if code != 0 || stdout != want {
		t.Errorf("exit %d, %q\n%s\nwant\n%s", code, stderr, stdout, want)
	}
}

func TestNetworkHelp(t *testing.T) {
	t.Parallel()
	code, stdout, _ := run(t, "network", "--help")
	if code != 0 || !strings.Contains(stdout, "Exit codes:") {
		t.Errorf("exit %d, %q", code, stdout)
	}
	for line := range strings.Lines(stdout) {
		if own := !strings.HasPrefix(line, "Use "); own && len(line) > width+1 {
			t.Errorf("%d columns: %s", len(line)-1, line)
		}
	}
}

func TestNetworkActs(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"confirm", "rollback", "retry"} {
		actor := &trials{}
		socket := serveActor(t, switching(time.Now()), actor)
		code, stdout, stderr := run(t, "network", name, "--socket", socket)
		if code != 0 || len(actor.called) != 1 || actor.called[0] != name || !strings.Contains(stdout, "10.200.0.4") {
			t.Errorf("%s: exit %d, %q, %q, called %v", name, code, stdout, stderr, actor.called)
		}
		code, stdout, _ = run(t, "network", name, "-o", "json", "--socket", socket)
		if code != 0 || !strings.Contains(stdout, `"vpn_server"`) {
			t.Errorf("%s -o json: exit %d, %q", name, code, stdout)
		}
		socket = serveActor(t, switching(time.Now()), &trials{err: errors.New("no change of the network is on trial")})
		code, _, stderr = run(t, "network", name, "--socket", socket)
		if code != exitUnhealthy || !strings.Contains(stderr, "cannot "+name+" the network: no change of the network is on trial") {
			t.Errorf("%s without a trial: exit %d, %q", name, code, stderr)
		}
		if code, stdout, _ := run(t, "network", name, "--help"); code != 0 || !strings.Contains(stdout, "Exit codes:") {
			t.Errorf("%s --help: exit %d", name, code)
		}
	}
}
