package config

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const pin = "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

const minimal = "plane:\n  address: plane.example:7443\n  caPin: " + pin + "\n"

func TestMinimalHasDefaults(t *testing.T) {
	t.Parallel()
	c, err := Parse("config.yaml", strings.NewReader(minimal))
	if err != nil {
		t.Fatal(err)
	}
	if c.Host.Prefix != "edge" || c.Metrics.Listen != "127.0.0.1:9475" || c.Network != (Network{ResyncInterval: 10 * time.Minute, PathMTU: PathMTUSet, TrialTimeout: 45 * time.Second}) ||
		c.Paths.Socket != "/run/hybrid-agent/agent.sock" || c.Nodeadm.Path != "/usr/local/bin/nodeadm" || c.Plane.PinSum()[1] != 0x11 {
		t.Fatalf("wrong defaults: %+v", c)
	}
}

func TestEverythingCanBeSet(t *testing.T) {
	t.Parallel()
	c, err := Parse("config.yaml", strings.NewReader(minimal+`
enrollment: {tokenFile: /t}
host:
  name: shop
  prefix: ""
  deviceUIDPaths: [{name: /d, regex: "x+"}]
metrics: {listen: ""}
log: {level: debug}
network: {resyncInterval: 0, routeMetric: 7, onLink: true, pathMTU: report, trialTimeout: 20s}
nodeadm: {path: /n, manifest: "file:///m.yaml", environment: {AWS_ENDPOINT_URL: "http://10.100.0.20"}}
paths: {state: /s, opState: /o, socket: /a.sock, opSocket: /b.sock, root: /r}
`))
	if err != nil {
		t.Fatal(err)
	}
	if c.Host.Prefix != "" || c.Metrics.Listen != "" || c.Network != (Network{RouteMetric: 7, OnLink: true, PathMTU: PathMTUReport, TrialTimeout: 20 * time.Second}) || c.Paths.Root != "/r" ||
		c.Nodeadm.Environment["AWS_ENDPOINT_URL"] != "http://10.100.0.20" || c.Host.DeviceUIDPaths[0].Regex != "x+" {
		t.Fatalf("got %+v", c)
	}
}

func TestMistakesNameFileLineAndKey(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		text string
		want []string
	}{
		"empty":         {"", []string{"config.yaml: plane.address", "plane.caPin", "hybridctl token create"}},
		"unknown key":   {minimal + "plan: {}\n", []string{"config.yaml:4:1", `unknown field "plan"`}},
		"unknown below": {minimal + "log: {lvl: info}\n", []string{"config.yaml:4:7", `unknown field "lvl"`}},
		"twice":         {minimal + "log: {level: info}\nlog: {level: warn}\n", []string{"config.yaml:5:1", "log"}},
		"wrong type":    {minimal + "log: [1]\n", []string{"config.yaml:4:6"}},
		"no yaml":       {"plane: [\n", []string{"config.yaml:1:"}},
		"two documents": {minimal + "---\n" + minimal, []string{"more than one YAML document"}},
		"address":       {strings.Replace(minimal, ":7443", "", 1), []string{"config.yaml:2:12: plane.address", "is not host:port"}},
		"pin":           {strings.Replace(minimal, "sha256:00", "sha256:zz", 1), []string{"config.yaml:3:10: plane.caPin"}},
		"level":         {minimal + "log: {level: loud}\n", []string{"config.yaml:4:14: log.level", `"loud"`}},
		"trial":         {minimal + "network: {trialTimeout: 1s}\n", []string{"config.yaml:4:25: network.trialTimeout", `"1s"`, "5s"}},
		"no trial":      {minimal + "network: {trialTimeout: never}\n", []string{"network.trialTimeout", `"never"`}},
		"path MTU":      {minimal + "network: {pathMTU: guess}\n", []string{"network.pathMTU", `"guess"`, "set, report"}},
		"interval":      {minimal + "network: {resyncInterval: soon}\n", []string{"config.yaml:4:27: network.resyncInterval", `"soon"`}},
		"host name":     {minimal + "host: {name: a/b}\n", []string{"host.name", "'/' is not allowed"}},
		"expression":    {minimal + "host: {deviceUIDPaths: [{name: /x, regex: \"(\"}]}\n", []string{"config.yaml:4:43: host.deviceUIDPaths[0].regex"}},
		"manifest":      {minimal + "nodeadm: {manifest: \"http://x/m\"}\n", []string{"nodeadm.manifest", "file:// or https://"}},
		"path":          {minimal + "paths: {state: var}\n", []string{"paths.state", "no absolute path"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse("config.yaml", strings.NewReader(tc.text))
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q; want %q in it", err, want)
				}
			}
		})
	}
}

func TestMissingFile(t *testing.T) {
	t.Parallel()
	_, err := Load(filepath.Join(t.TempDir(), "none.yaml"))
	if err == nil || !strings.Contains(err.Error(), "--config") || !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(minimal)
	f.Add("plane: {address: [}")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse("config.yaml", strings.NewReader(text))
		if err == nil && c.Plane.PinSum() == [32]byte{} && !strings.Contains(c.Plane.CAPin, strings.Repeat("0", 64)) {
			t.Fatal("accepted without a pin")
		}
	})
}
