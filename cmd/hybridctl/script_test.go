package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"hybridagent/plane/kind"
	"hybridagent/plane/planetest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// TestMain builds the command line as users get it: the test binary itself has
// etcd and the race detector in it and takes half a second to start.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "hybridctl-test-")
	if err == nil {
		var out []byte
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "hybridctl"), ".")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err = cmd.CombinedOutput(); err != nil {
			err = fmt.Errorf("%w\n%s", err, out)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cannot build hybridctl:", err)
		os.Exit(1)
	}
	if err := os.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// TestScripts runs each script against a plane of its own on loopback, as an
// operator would. The variable CTX names the context file, CAKEY and CACERT hold
// the PEM files of a Roles Anywhere CA.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			p := planetest.Start(t)
			cert, key := planetest.NodeCA(t)
			nodes := map[string]*planetest.Node{}
			testscript.Run(t, testscript.Params{
				Files: []string{file},
				Setup: func(env *testscript.Env) error {
					env.Setenv("HYBRIDCTL_CONTEXT", p.ContextFile)
					env.Setenv("ADDRESS", p.Address)
					env.Setenv("PIN", p.CAPin)
					env.Setenv("HOME", env.WorkDir)
					return expand(env.WorkDir, cert, key)
				},
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"enrol":     func(ts *testscript.TestScript, neg bool, args []string) { enrol(ts, p, neg, args) },
					"play":      func(ts *testscript.TestScript, _ bool, args []string) { play(t, ts, p, args) },
					"node":      func(ts *testscript.TestScript, _ bool, args []string) { playNode(ts, p, nodes, args) },
					"until":     func(ts *testscript.TestScript, _ bool, args []string) { until(ts, args) },
					"stopplane": func(*testscript.TestScript, bool, []string) { p.Stop() },
				},
			})
		})
	}
}

// expand puts the CA into the script's files, where a line @CERT or @KEY stands,
// with the line's indentation.
func expand(dir, cert, key string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return err
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var out []string
		for _, line := range strings.Split(string(b), "\n") {
			text := map[string]string{"@CERT": cert, "@KEY": key}[strings.TrimSpace(line)]
			if text == "" {
				out = append(out, line)
				continue
			}
			indent, _, _ := strings.Cut(line, "@")
			for _, l := range strings.Split(strings.TrimSpace(text), "\n") {
				out = append(out, indent+l)
			}
		}
		if err := os.WriteFile(file, []byte(strings.Join(out, "\n")), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// play enrols a host and has it behave by itself until the script ends: play HOST
// succeed|goback|silent [node]. A node is one already.
func play(t *testing.T, ts *testscript.TestScript, p *planetest.Plane, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: play HOST succeed|goback|silent [node]")
	}
	answers := map[string]planetest.Answer{
		"succeed": planetest.Succeed,
		"goback":  planetest.GoBack("10.100.0.1 did not answer through 10.200.0.9; went back to 10.200.0.2; check that 10.200.0.9 forwards the VPC"),
		"silent":  nil,
	}
	h := p.Enrolled(args[0])
	s, err := h.TryConnect(&agentv1.Hello{HostId: h.ID, AgentVersion: "v0", Fingerprint: h.Fingerprint})
	ts.Check(err)
	base := &agentv1.HostStatus{Nic: "lan0", NodeIp: "10.200.0.11"}
	if len(args) == 3 {
		base.AppliedNodeDigest = "d0"
		base.Conditions = []*agentv1.Condition{{Type: "NodeReady", Status: agentv1.ConditionStatus_CONDITION_STATUS_TRUE, Reason: "Ready", Message: "ready"}}
	}
	s.Play(base, answers[args[1]])
	planetest.Eventually(t, func() (bool, string) {
		resp, err := p.Operator().Get(context.Background(), &planev1.GetRequest{Kind: kind.Host, Name: h.ID})
		return err == nil && resp.GetResource().GetEdgeHostStatus().GetHost().GetNic() != "", "the host has not reported"
	})
}

// playNode enrols a host that becomes a node and behaves by itself: node HOST END,
// where END is how its repaves and leaves end; again for one that is there, to
// change that, and with "now" to end what runs.
func playNode(ts *testscript.TestScript, p *planetest.Plane, nodes map[string]*planetest.Node, args []string) {
	ends := map[string]planetest.End{"well": planetest.EndWell, "badly": planetest.EndBadly, "never": planetest.EndNever, "refused": planetest.EndRefused}
	if len(args) < 2 {
		ts.Fatalf("usage: node HOST well|badly|never|refused [now]")
	}
	end, ok := ends[args[1]]
	if !ok {
		ts.Fatalf("%s is no end", args[1])
	}
	behave := func(op *agentv1.Operation) planetest.End {
		if op.GetKind() == agentv1.OperationKind_OPERATION_KIND_PROVISION {
			return planetest.EndWell
		}
		return end
	}
	switch n := nodes[args[0]]; {
	case n == nil:
		nodes[args[0]] = p.Enrolled(args[0]).Play(behave)
	case len(args) == 3:
		n.Finish(end)
	default:
		n.Behave(behave)
	}
}

// until runs a command again and again until its output matches: until REGEXP
// PROGRAM ARG...
func until(ts *testscript.TestScript, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: until REGEXP PROGRAM ARG...")
	}
	want := regexp.MustCompile("(?ms)" + args[0])
	tick, deadline := time.NewTicker(20*time.Millisecond), time.After(10*time.Second)
	defer tick.Stop()
	for {
		err := ts.Exec(args[1], args[2:]...)
		out := ts.ReadFile("stdout")
		if err == nil && want.MatchString(out) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			ts.Fatalf("no %q within ten seconds: %v\n%s", args[0], err, out)
		}
	}
}

// enrol plays a host: enrol HOST TOKENFILE. It reports two NICs and stays
// connected until the script ends.
func enrol(ts *testscript.TestScript, p *planetest.Plane, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: enrol HOST TOKENFILE")
	}
	h := p.NewHost(args[0])
	err := h.Enroll(strings.TrimSpace(ts.ReadFile(args[1])))
	if neg {
		if err == nil {
			ts.Fatalf("host %s was enrolled", args[0])
		}
		ts.Logf("%v", err)
		return
	}
	ts.Check(err)
	s, err := h.TryConnect(&agentv1.Hello{HostId: h.ID, AgentVersion: "v0", Fingerprint: h.Fingerprint})
	ts.Check(err)
	s.Send(&agentv1.AgentMessage{Message: &agentv1.AgentMessage_Inventory{Inventory: &agentv1.Inventory{
		Architecture: agentv1.Architecture_ARCHITECTURE_AMD64, Os: "Debian GNU/Linux 13 (trixie)", Kernel: "6.12.0", Cpus: 2, MemoryBytes: 4 << 30,
		Nics: []*agentv1.NIC{
			{Name: "lan0", Mac: "02:00:00:00:00:01", Kind: "device", Addresses: []string{"10.200.0.11/24"}, Candidate: true, Selected: true, Reasons: []string{"VPN server 10.200.0.2 is on-link"}},
			{Name: "docker0", Kind: "bridge", Addresses: []string{"172.17.0.1/16"}, Reasons: []string{"owned by containers"}},
		},
	}}})
	s.Status(&agentv1.HostStatus{Nic: "lan0", NodeIp: "10.200.0.11", Routes: []string{"10.100.0.0/16 via 10.200.0.2 dev lan0 src 10.200.0.11"},
		Conditions: []*agentv1.Condition{{Type: "NodeReady", Status: agentv1.ConditionStatus_CONDITION_STATUS_FALSE, Reason: "NotProvisioned", Message: "no node yet"}}})
	// One more round trip, so that the report is in before the next command.
	s.Send(&agentv1.AgentMessage{Message: &agentv1.AgentMessage_NodeCertificateRequest{NodeCertificateRequest: &agentv1.NodeCertificateRequest{}}})
	for {
		m, err := s.Next()
		ts.Check(err)
		if m.GetNodeCertificate() != nil {
			return
		}
	}
}
