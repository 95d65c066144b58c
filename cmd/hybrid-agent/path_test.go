package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	localv1 "hybridagent/proto/hybrid/local/v1"
)

// brokenPath is of a host whose active VPN server has lost its tunnel.
func brokenPath(now time.Time) *localv1.Status {
	ago := timestamppb.New(now.Add(-3 * time.Minute))
	return &localv1.Status{
		PathSummary: &localv1.PathSummary{
			Verdict: "Unreachable", Segment: "tunnel", Since: ago, PathMtu: 1400, MtuBlackHole: true, RouteMtu: 1400,
			Message: "VPC path down, internet fine: the VPN server 10.200.0.2 answers, nothing behind it does; check the tunnel on it and the VPC's route back to 10.200.0.11",
		},
		Path: []*localv1.PathTarget{
			{Target: "10.100.0.10:443", Method: "tcp", Error: "no answer within 3s"},
			{Target: "10.100.0.1", Method: "icmp", Ok: true, Rtt: durationpb.New(1230 * time.Microsecond)},
		},
		Network: &localv1.NetworkState{VpnServers: []*localv1.VPNServer{
			{Address: "10.200.0.2", Active: true, Since: ago, Error: "nothing in the VPC answers through it: 10.100.0.10:443 (no answer within 1.5s), 10.100.0.1 (no answer within 1.5s)"},
			{Address: "10.200.0.3", Ok: true, Since: ago, Rtt: durationpb.New(2 * time.Millisecond)},
		}},
	}
}

const wantPath = `Verdict     Unreachable for 3m, broken: tunnel
            VPC path down, internet fine: the VPN server 10.200.0.2 answers,
            nothing behind it does; check the tunnel on it and the VPC's route
            back to 10.200.0.11
Path MTU    1400 bytes; larger packets vanish without an ICMP error; the routes
            carry 1400

TARGET                     METHOD ANSWER
10.100.0.10:443            tcp    no answer within 3s
10.100.0.1                 icmp   1.23 ms

VPN SERVER       USE     FOR      ANSWER
10.200.0.2       active  3m       none
  nothing in the VPC answers through it: 10.100.0.10:443 (no answer within
  1.5s), 10.100.0.1 (no answer within 1.5s)
10.200.0.3       standby 3m       2.00 ms
`

func TestPathTable(t *testing.T) {
	t.Parallel()
	now := time.Now()
	var out bytes.Buffer
	writePath(&out, false, brokenPath(now), now)
	if out.String() != wantPath {
		t.Errorf("got\n%s\nwant\n%s", out.String(), wantPath)
	}
	out.Reset()
	writePath(&out, false, &localv1.Status{}, now)
	if want := "Verdict     not known: nothing was probed yet\nPath MTU    not known\n"; out.String() != want {
		t.Errorf("without a path:\n%s", out.String())
	}
}

func TestPathCommand(t *testing.T) {
	t.Parallel()
	broken := serve(t, brokenPath(time.Now()))
	code, stdout, stderr := run(t, "path", "--socket", broken)
	if code != exitUnhealthy || stdout != wantPath || stderr != "" {
		t.Errorf("exit %d, %q\n%s", code, stderr, stdout)
	}
	code, stdout, _ = run(t, "path", "--socket", broken, "-o", "json")
	var document struct {
		Summary struct {
			Segment string `json:"segment"`
			MTU     int    `json:"path_mtu"`
		} `json:"path_summary"`
		Path    []struct{ Target, Error string }
		Servers []struct{ Active bool } `json:"vpn_servers"`
	}
	if err := json.Unmarshal([]byte(stdout), &document); err != nil || code != exitUnhealthy {
		t.Fatalf("exit %d, %v\n%s", code, err, stdout)
	}
	if document.Summary.Segment != "tunnel" || document.Summary.MTU != 1400 || len(document.Path) != 2 || len(document.Servers) != 2 || !document.Servers[0].Active {
		t.Errorf("%+v of\n%s", document, stdout)
	}
	if code, stdout, _ = run(t, "path", "--socket", broken, "-o", "yaml"); code != exitUnhealthy || !strings.Contains(stdout, "segment: tunnel\n") {
		t.Errorf("exit %d\n%s", code, stdout)
	}
	healthy := serve(t, &localv1.Status{PathSummary: &localv1.PathSummary{Verdict: "Healthy"}})
	if code, stdout, _ = run(t, "path", "--socket", healthy); code != 0 || !strings.HasPrefix(stdout, "Verdict     Healthy\n") {
		t.Errorf("exit %d\n%s", code, stdout)
	}
	unassigned := serve(t, &localv1.Status{})
	if code, stdout, _ = run(t, "path", "--socket", unassigned, "-o", "json"); code != exitUnhealthy || !strings.Contains(stdout, `"path": []`) {
		t.Errorf("exit %d\n%s", code, stdout)
	}
	if code, _, _ = run(t, "path", "--socket", filepath.Join(t.TempDir(), "none.sock")); code != exitUnreachable {
		t.Errorf("without a daemon: exit %d", code)
	}
	if code, _, _ = run(t, "path", "-o", "xml"); code != exitUsage {
		t.Errorf("in a format that there is not: exit %d", code)
	}
}

func TestPathHelpFits(t *testing.T) {
	t.Parallel()
	code, stdout, _ := run(t, "path", "--help")
	if code != 0 || !strings.Contains(stdout, "Exit codes:") {
		t.Errorf("exit %d\n%s", code, stdout)
	}
	for _, line := range strings.Split(stdout, "\n") {
		if len(line) > width {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
}
