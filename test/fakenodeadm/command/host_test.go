package command_test

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"hybridagent/test/fakeaws/artifacts"
	"hybridagent/test/fakeaws/server"
	"hybridagent/test/fakenodeadm/command"
	"hybridagent/test/fakenodeadm/facts"
	"hybridagent/test/fakenodeadm/lab"
)

// timeScale makes the real program's 5 s polls 50 ms.
const timeScale = 0.01

// host is a scratch machine: a folder as its root, units that only keep states, and a stand-in of AWS and Kubernetes.
type host struct {
	t      *testing.T
	root   string
	units  *units
	server *server.Server
	closed string // host:port that nobody listens on
	kube   string // host:port of the Kubernetes API as DescribeCluster names it
	eks    string // AWS_ENDPOINT_URL
	faults []lab.Fault
	scale  float64
	env    []string
}

func newHost(t *testing.T, table *facts.Table, kubeDown bool) *host {
	t.Helper()
	h := &host{t: t, root: t.TempDir(), closed: closedPort(t), scale: timeScale}
	h.units = &units{root: h.root, containerd: "active/running", unitFile: true, started: map[string]bool{}, active: map[string]bool{}}
	opt := server.Options{RemoteNodeCIDRs: []string{"10.80.0.0/16"}, ArtifactDir: filepath.Join(h.root, "lab/artifacts")}
	if kubeDown {
		opt.Endpoint = "https://" + closedPort(t)
	}
	s, err := server.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	h.server, h.eks, h.kube = s, s.AWSURL(), strings.TrimPrefix(s.Endpoint(), "https://")
	h.prepare(s.AWSURL())
	for path, text := range table.Configs {
		h.write(path, text, 0o644)
	}
	valid, key := certificate(t, time.Now().Add(time.Hour))
	h.write("/etc/iam/pki/server.pem", valid, 0o644)
	h.write("/etc/iam/pki/server.key", key, 0o600)
	h.write("/etc/containerd/config.toml", "version = 2\n", 0o644)
	h.write("/usr/bin/containerd", "#!/bin/sh\n", 0o755)
	h.write("/etc/fstab", "# no swap\n", 0o644)
	for _, dir := range []string{"/usr/local/bin", "/etc/sysctl.d", "/etc/modules-load.d", "/etc/systemd/system/multi-user.target.wants", "/opt", "/var/lib"} {
		h.must(os.MkdirAll(filepath.Join(h.root, dir), 0o755))
	}
	return h
}

func (h *host) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// prepare writes artifacts and manifest.yaml, and manifest-down.yaml that names a closed port.
func (h *host) prepare(base string) {
	plan := artifacts.Plan{Out: filepath.Join(h.root, "lab"), BaseURL: base + "/artifacts", Versions: []string{"1.30.4", "1.31.5"}, Region: "us-west-2"}
	h.must(artifacts.Prepare(plan))
	raw, err := os.ReadFile(filepath.Join(h.root, "lab/manifest.yaml"))
	h.must(err)
	down := strings.ReplaceAll(string(raw), base, "http://"+h.closed)
	h.write("/lab/manifest-down.yaml", down, 0o644)
}

func (h *host) write(path, text string, mode os.FileMode) {
	h.t.Helper()
	full := filepath.Join(h.root, path)
	h.must(os.MkdirAll(filepath.Dir(full), 0o755))
	h.must(os.WriteFile(full, []byte(text), mode))
}

func (h *host) command(stdout, stderr io.Writer) *command.Host {
	env := append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "AWS_ENDPOINT_URL=" + h.eks, "STANDIN_SELF=" + os.Args[0]}, h.env...)
	return &command.Host{
		Root: h.root, Stdout: stdout, Stderr: stderr, Env: env,
		Settings: lab.Settings{TimeScale: h.scale, Faults: h.faults}, Units: h.units,
		HasSystemd: func() bool { return true },
		DefaultIP:  func() (net.IP, error) { return net.IPv4(10, 80, 0, 5), nil },
		LookupIP:   func(string) ([]net.IP, error) { return nil, errors.New("no such host") },
	}
}

var installArgs = []string{"install", "1.30", "-p", "iam-ra", "-s", "none", "-r", "us-west-2", "-m", "file:///lab/manifest.yaml", "--private-mode"}

var initArgs = []string{"init", "-c", "file:///lab/nodeconfig.yaml", "-m", "file:///lab/manifest.yaml", "--skip", "none"}

var upgradeArgs = []string{"upgrade", "1.31", "-c", "file:///lab/nodeconfig.yaml", "-m", "file:///lab/manifest.yaml", "--private-mode"}

func (h *host) succeed(args []string) {
	h.t.Helper()
	if _, stderr, code := h.exec(args, false); code != 0 {
		h.t.Fatalf("setup: nodeadm %s: exit %d\n%s", strings.Join(args, " "), code, stderr)
	}
}

// step makes one step of a case's setup.
func (h *host) step(step string) {
	h.t.Helper()
	if path, ok := strings.CutPrefix(step, facts.StepRemove); ok {
		h.must(os.Remove(filepath.Join(h.root, path)))
		return
	}
	if path, ok := strings.CutPrefix(step, facts.StepEmpty); ok {
		h.must(os.Truncate(filepath.Join(h.root, path), 0))
		return
	}
	if path, ok := strings.CutPrefix(step, facts.StepTruncate); ok {
		h.must(os.Truncate(filepath.Join(h.root, path), 40))
		return
	}
	if path, ok := strings.CutPrefix(step, facts.StepLeftover); ok {
		h.write(path, "cut off", 0o644)
		return
	}
	switch step {
	case facts.StepUpgrade:
		h.server.PutNode("store-17-a", true)
		h.succeed(upgradeArgs)
	case facts.StepKubeHangs:
		h.must(h.server.SetFaults(server.Faults{KubeAPI: "hang"}))
	case facts.StepDaemonPod:
		h.pods(`[{"metadata":{"namespace":"kube-system","name":"cilium-x","ownerReferences":[{"kind":"DaemonSet","name":"cilium"}]},"spec":{"nodeName":"store-17-a"}}]`)
	case facts.StepInstall:
		h.succeed(installArgs)
	case facts.StepInit:
		h.succeed(initArgs)
	case facts.StepUninstall:
		h.uninstalled()
	case facts.StepCertificateExpired:
		expired, _ := certificate(h.t, time.Now().Add(-time.Hour))
		h.write("/etc/iam/pki/server.pem", expired, 0o644)
	case facts.StepContainerdStopped:
		h.units.containerd = "inactive/dead"
	case facts.StepContainerdNoUnit:
		h.units.unitFile = false
	case facts.StepECRDenied:
		h.must(h.server.SetFaults(server.Faults{ECR: "denied"}))
	case facts.StepEKSDown:
		h.eks = "http://" + h.closed
	case facts.StepStall:
		h.must(h.server.SetFaults(server.Faults{Artifacts: "stall"}))
		h.scale = 0.1 // its --timeout of 15 s must leave time for the downloads before the stall
	case facts.StepNodeCordoned, facts.StepNodeSchedulable:
		h.server.PutNode("store-17-a", step == facts.StepNodeCordoned)
	case facts.StepPodLeft:
		h.pods(`[{"metadata":{"namespace":"shop","name":"web-0"},"spec":{"nodeName":"store-17-a"},"status":{"phase":"Running"}}]`)
	case facts.StepCrashLoop:
		h.write("/usr/bin/kubelet", crashingKubelet, 0o755)
		h.units.crashLoop, h.units.remembered, h.units.active["kubelet"] = true, true, false
	case facts.StepCNIFiles:
		h.write("/etc/cni/net.d/05-cilium.conflist", "{}", 0o644)
		h.write("/var/lib/cni/results", "{}", 0o644)
	case facts.StepKubeDown:
		h.kubeDown()
	case facts.StepArtifactsDown: // the command names manifest-down.yaml
	default:
		h.t.Fatalf("unknown step %q", step)
	}
}

// uninstalled takes away what an uninstall takes away; the wants link dangles and systemd still remembers the unit.
func (h *host) uninstalled() {
	for _, path := range []string{
		"/opt/nodeadm", "/usr/bin/kubelet", "/etc/systemd/system/kubelet.service", "/usr/local/bin/kubectl", "/usr/local/bin/aws-iam-authenticator",
		"/usr/local/bin/aws_signing_helper", "/etc/eks", "/opt/cni", "/etc/kubernetes", "/var/lib/kubelet/kubeconfig",
	} {
		h.must(os.RemoveAll(filepath.Join(h.root, path)))
	}
	h.units.active["kubelet"] = false
	h.units.remembered = true
}

// kubeDown makes an initialised node's kubeconfig name a closed port; before init, the host was made with one.
func (h *host) kubeDown() {
	path := filepath.Join(h.root, "/var/lib/kubelet/kubeconfig")
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	h.must(err)
	down := closedPort(h.t)
	h.must(os.WriteFile(path, []byte(strings.ReplaceAll(string(raw), h.kube, down)), 0o644))
	h.kube = down
}

func (h *host) pods(body string) {
	resp, err := http.Post(h.server.AWSURL()+"/lab/pods", "application/json", strings.NewReader(body))
	h.must(err)
	resp.Body.Close()
}

func (h *host) tracker() string {
	info, err := os.Stat(filepath.Join(h.root, "/opt/nodeadm/tracker"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "absent"
	case err != nil:
		h.t.Fatal(err)
	case info.Size() == 0:
		return "empty"
	}
	return "present"
}

func (h *host) wantSize(path string, size int64) {
	h.t.Helper()
	info, err := os.Stat(filepath.Join(h.root, path))
	h.must(err)
	if info.Size() != size {
		h.t.Errorf("%s has %d bytes, want %d", path, info.Size(), size)
	}
}

// likeRecorded puts the recorded runs' addresses and placeholders in place of this run's.
func (h *host) likeRecorded(text string) string {
	text = strings.NewReplacer(
		strings.TrimPrefix(h.server.AWSURL(), "http://"), "127.0.0.1:9000", h.kube, "127.0.0.1:6443", h.closed, "127.0.0.1:9009",
		`"status":"unknown"`, `"status":"<stopped or unknown>"`, string(h.server.CA()), "<PEM CERTIFICATE>\n",
	).Replace(text)
	text = regexp.MustCompile(`"cpu": "\d+m"`).ReplaceAllString(text, `"cpu": "<by CPU count>"`)
	return regexp.MustCompile(`"memory": "\d+[GM]i"`).ReplaceAllString(text, `"memory": "<by memory>"`)
}
