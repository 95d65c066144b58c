package ospack_test

import (
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"hybridagent/plane/ospack"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// golden is the manifest as an image build prints it, comments included.
func golden(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile("testdata/pack.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestGoldenManifest(t *testing.T) {
	t.Parallel()
	pack, err := ospack.Parse(golden(t), "1.31.5")
	if err != nil {
		t.Fatal(err)
	}
	want := &ospack.Pack{
		Image:        "registry.example/ubuntu:nodeadm-1.31.5-v1.2.3-shop",
		Distribution: "nodeadm", OSName: "ubuntu", OSVersion: "22",
		Options: map[string]any{
			"system.uri": "registry.example/ubuntu:nodeadm-1.31.5-v1.2.3-shop", "system.registry": "registry.example",
			"system.repo": "ubuntu", "system.k8sDistribution": "nodeadm", "system.osName": "ubuntu",
			"system.peVersion": "v1.2.3", "system.customTag": "shop", "system.osVersion": int64(22),
		},
	}
	if !reflect.DeepEqual(pack, want) {
		t.Errorf("Parse = %+v, want %+v", pack, want)
	}
}

// uncommented is the golden manifest with its drain block in force.
func uncommented(t *testing.T) string {
	t.Helper()
	return strings.NewReplacer("  #drain:", "  drain:", "\n    #", "\n    ").Replace(golden(t))
}

func TestDrain(t *testing.T) {
	t.Parallel()
	pack, err := ospack.Parse(uncommented(t), "1.31.5")
	if err != nil {
		t.Fatal(err)
	}
	all := &planev1.DrainSpec{
		Cordon: proto.Bool(true), Timeout: proto.Uint32(60), GracePeriod: proto.Int32(60), IgnoreDaemonSets: proto.Bool(true),
		DeleteLocalData: proto.Bool(true), Force: proto.Bool(true), DisableEviction: proto.Bool(false), SkipWaitForDeleteTimeout: proto.Uint32(60),
	}
	if !proto.Equal(pack.Drain, all) {
		t.Errorf("drain = %v, want %v", pack.Drain, all)
	}
	for block, want := range map[string]*planev1.DrainSpec{
		"drain:":    nil,
		"drain: {}": {},
		"drain: {cordon: false, gracePeriod: -1}":        {Cordon: proto.Bool(false), GracePeriod: proto.Int32(-1)},
		"drain: {timeout: 0, disableEviction: true}":     {Timeout: proto.Uint32(0), DisableEviction: proto.Bool(true)},
		"drain: {timeout: null, force: ~, cordon: true}": {Cordon: proto.Bool(true)},
	} {
		pack, err := ospack.Parse(strings.Replace(golden(t), "#drain:", block+" #", 1), "1.31.5")
		if err != nil || !proto.Equal(pack.Drain, want) || (pack.Drain == nil) != (want == nil) {
			t.Errorf("%s: %v, %v", block, pack, err)
		}
	}
}

func TestDrainErrors(t *testing.T) {
	t.Parallel()
	for block, want := range map[string]string{
		"{timeout: -1}":                  `line 5, pack.drain.timeout: must be a whole number of seconds, 0 for no end; not the number -1`,
		"{timeout: 60s}":                 `pack.drain.timeout: must be a whole number of seconds, 0 for no end; not "60s"`,
		"{timeout: 1.5}":                 `not the number 1.5`,
		"{timeout: 99999999999}":         `not the number 99999999999`,
		"{gracePeriod: true}":            `pack.drain.gracePeriod: must be a whole number of seconds for each pod; negative: the pod's own; not the truth value true`,
		"{skipWaitForDeleteTimeout: 0}":  `pack.drain.skipWaitForDeleteTimeout: must be a whole number of seconds, more than 0; not the number 0`,
		`{cordon: "true"}`:               `pack.drain.cordon: must be true or false, not "true"`,
		"{force: 1}":                     `pack.drain.force: must be true or false, not the number 1`,
		"{ignoreDaemonsets: true}":       `pack.drain.ignoreDaemonsets: is unknown; did you mean ignoreDaemonSets?`,
		"{graceperiod: 1}":               `did you mean gracePeriod?`,
		"{pods: true}":                   `pack.drain.pods: is unknown; drain has cordon, timeout, gracePeriod`,
		"60":                             `pack.drain: must be a mapping of fields, not the number 60`,
		"{timeout: [1], cordon: [true]}": `pack.drain.cordon: must be true or false, not a list`,
	} {
		_, err := ospack.Parse(strings.Replace(golden(t), "#drain:", "drain: "+block+" #", 1), "1.31.5")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("drain %s: %v; want %q in it", block, err, want)
		}
	}
}

// TestShapes: options below pack, nested ones, blanks, order and aliases
// make no difference.
func TestShapes(t *testing.T) {
	t.Parallel()
	const p = "spectro.pack.edge-native-byoi.options."
	for name, manifest := range map[string]string{
		"below pack": "pack:\n  content: {images: [{image: '{{." + p + "system.uri}}'}]}\n  options:\n    system.uri: r.example/u:nodeadm-1.31.5\n    system.k8sDistribution: nodeadm\n",
		"both":       "pack:\n  content: {images: [{image: '{{ ." + p + "system.uri }}'}]}\n  options: {system.uri: 'r.example/u:{{." + p + "k-8s}}-1.31.5'}\noptions: {k-8s: nodeadm}\n",
		"nested map": "pack: {content: {images: [{image: '{{" + p + "system.uri}}'}]}}\noptions: {system: {uri: 'r.example/u:nodeadm-{{   .spectro.system.kubernetes.version}}'}}\n",
		"deep":       "options: {a: '{{." + p + "b}}', b: '{{." + p + "c}}', c: 'r.example/u:nodeadm-1.31.5'}\npack: {content: {images: [{image: '{{." + p + "a}}'}]}}\n",
		"in names":   "options: {which: 'real', uri-real: 'r.example/u:nodeadm-1.31.5'}\npack: {content: {images: [{image: '{{." + p + "uri-{{." + p + "which}}}}'}]}}\n",
		"no options": "pack: {content: {images: [{image: 'r.example/u:nodeadm-1.31.5'}]}}\n",
		"other keys": "pack: {content: {images: [{image: 'r.example/u:nodeadm-1.31.5', tag: x}], charts: []}, 'spectrocloud.com/install-priority': '0'}\nstylus: {site: {x: '{{ .spectro.var.none }}'}}\n",
		"unused":     "pack: {content: {images: [{image: 'r.example/u:nodeadm-1.31.5'}]}}\noptions: {x: '{{ .spectro.var.none }}', list: [1]}\n",
		"two images": "pack: {content: {images: [{image: 'r.example/pause:3'}, {image: '{{." + p + "system.uri}}'}]}}\noptions: {system.uri: r.example/u:nodeadm-1.31.5}\n",
		"alias":      "pack: {content: {images: [{image: &i 'r.example/u:nodeadm-1.31.5'}]}}\noptions: {system.uri: *i}\n",
	} {
		pack, err := ospack.Parse(manifest, "1.31.5")
		if err != nil || pack.Image != "r.example/u:nodeadm-1.31.5" {
			t.Errorf("%s: %+v, %v", name, pack, err)
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, manifest, want string }{
		{"cycle", swap(t, "system.registry: registry.example", "system.registry: '{{ .spectro.pack.edge-native-byoi.options.system.repo }}'",
			"system.repo: ubuntu", "system.repo: '{{.spectro.pack.edge-native-byoi.options.system.registry}}'"),
			"line 17, options.system.repo: refers to itself: system.registry → system.repo → system.registry"},
		{"own name", swap(t, "system.repo: ubuntu", "system.repo: '{{.spectro.pack.edge-native-byoi.options.system.repo}}'"), "refers to itself: system.repo → system.repo"},
		{"missing", swap(t, "  system.registry: registry.example\n", "", "  system.customTag: shop\n", ""),
			"spectro.pack.edge-native-byoi.options.system.customTag: is not defined but used in options.system.uri (line 15); write \"system.customTag: …\" below options\n" +
				"spectro.pack.edge-native-byoi.options.system.registry: is not defined but used in options.system.uri (line 15)"},
		{"mistyped", swap(t, "system.customTag: shop", "system.custumTag: shop"), "or did you mean system.custumTag?"},
		{"foreign variable", swap(t, "registry.example", "'{{ .spectro.var.registry }}'"),
			"spectro.var.registry: is not defined but used in options.system.registry (line 16); defined are spectro.system.kubernetes.version and the options of pack edge-native-byoi"},
		{"function", swap(t, "registry.example", "'{{ .spectro.system.kubernetes.version | quote }}'"), "functions and pipes are not supported"},
		{"no end", swap(t, "registry.example", "'{{ .spectro.x'"), `has "{{" without "}}" after it`},
		{"no begin", swap(t, "registry.example", "'r.example }} x'"), `has "}}" without "{{" before it`},
		{"list", swap(t, "system.repo: ubuntu", "system.repo: [a]"), "is a list or a mapping and cannot be put into a value"},
		{"twice", swap(t, "  content:", "  options: {system.repo: x}\n  content:"), "options.system.repo: is given twice, before as pack.options.system.repo in line 2; keep one"},
		{"version", swap(t, "{{ .spectro.system.kubernetes.version }}", "1.30.9"),
			"comes out as registry.example/ubuntu:nodeadm-1.30.9-v1.2.3-shop, an image with Kubernetes 1.30.9, but the profile's Kubernetes layer has 1.31.5; build the image for 1.31.5, or change the layer's version to 1.30.9"},
		{"no version", swap(t, "-{{ .spectro.system.kubernetes.version }}-", "-"),
			`whose tag "nodeadm-v1.2.3-shop" does not say which Kubernetes version the image carries; the profile's Kubernetes layer has 1.31.5: tag the image nodeadm-1.31.5-…`},
		{"no image", swap(t, "registry.example", "UPPER CASE"), "which is no image"},
		{"default registry", swap(t, "registry.example", "ubuntu"), "which is no image"},
		{"long image", swap(t, "registry.example", "r.example/"+strings.Repeat("x", 600)), "at most 512"},
		{"growth", growth(), "more than 4096"},
		{"mistyped section", "pakc: {content: {images: [{image: x}]}}\n", "line 1, pakc: is no section of an OS pack; did you mean pack?"},
		{"mistyped content", "pack: {contents: {images: [{image: x}]}}\n", "did you mean pack.content?"},
		{"mistyped images", "pack: {content: {image: [{image: x}]}}\n", "pack.content.image: is unknown; write images"},
		{"mistyped image", "pack: {content: {images: [{img: x}]}}\n", "pack.content.images[0]: has no image"},
		{"images no list", "pack: {content: {images: x}}\n", "must be a list"},
		{"two images", "pack: {content: {images: [{image: r.example/a:x}, {image: r.example/b:x}]}}\n", "names 2 images, none of them options' system.uri"},
		{"none", "options: {a: b}\n", "names no image"},
		{"empty", "", "is empty"},
		{"comment", "# nothing\n", "is empty"},
		{"no mapping", "- a\n", "must be a mapping of fields, not a list"},
		{"syntax", "pack: {content\n", "is no YAML"},
		{"duplicate", "pack: {}\npack: {}\n", "is no YAML"},
		{"documents", "pack: {}\n---\npack: {}\n", "more than one YAML document"},
		{"tag", "pack: !!map {}\n", "tag !!map is not supported"},
		{"size", strings.Repeat("#", 64<<10+1), "at most 65536 are allowed"},
	} {
		pack, err := ospack.Parse(c.manifest, "1.31.5")
		var problems ospack.Problems
		if pack != nil || !errors.As(err, &problems) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, %v; want %q in it", c.name, pack, err, c.want)
		}
	}
}

// swap is the golden manifest with pieces exchanged; each must be there.
func swap(t *testing.T, pairs ...string) string {
	t.Helper()
	text := golden(t)
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("the golden manifest lacks %q", pairs[i])
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text
}

// growth are options each of which holds the next one ten times.
func growth() string {
	var out strings.Builder
	out.WriteString("pack: {content: {images: [{image: '{{.spectro.pack.edge-native-byoi.options.a}}'}]}}\noptions:\n")
	for c := 'a'; c < 'x'; c++ {
		out.WriteString("  " + string(c) + ": '" + strings.Repeat("{{.spectro.pack.edge-native-byoi.options."+string(c+1)+"}}", 10) + "'\n")
	}
	out.WriteString("  x: 0123456789\n")
	return out.String()
}

func TestVersionInTag(t *testing.T) {
	t.Parallel()
	for tag, good := range map[string]bool{
		"nodeadm-1.31.5-v1.2.3-shop": true, "nodeadm-v1.31.5-v1.2.3": false, "nodeadm-1.31.5": true, "edge-nodeadm-1.31.5-x": true, "nodeadm-1.31.5_x": true,
		"nodeadm-1.31.50-v1.2.3": false, "nodeadm-1.31": false, "1.31.5-nodeadm": false, "k3s-1.31.5": false, "xnodeadm-1.31.5": false, "latest": false,
	} {
		_, err := ospack.Parse("pack: {content: {images: [{image: 'r.example/u:"+tag+"'}]}}\noptions: {system.k8sDistribution: nodeadm}\n", "1.31.5")
		if (err == nil) != good {
			t.Errorf("%s: %v", tag, err)
		}
	}
	_, err := ospack.Parse("pack: {content: {images: [{image: 'r.example/u@sha256:"+strings.Repeat("a", 64)+"'}]}}\n", "1.31.5")
	if err == nil || !strings.Contains(err.Error(), `tag "" does not say`) {
		t.Errorf("an image by digest alone: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	content, err := os.ReadFile("testdata/pack.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{string(content), growth(), "pack: {drain: {timeout: 1}}", "a: &a [*a]", "options: &o {a: *o}", "? x\n: y", "{{}}"} {
		f.Add(seed, "1.31.5")
	}
	f.Fuzz(func(t *testing.T, manifest, version string) {
		pack, err := ospack.Parse(manifest, version)
		if (pack == nil) == (err == nil) {
			t.Fatalf("Parse = %+v, %v", pack, err)
		}
		if err != nil {
			var problems ospack.Problems
			if !errors.As(err, &problems) || len(problems) == 0 {
				t.Fatalf("the error says nothing: %v", err)
			}
			return
		}
		if len(pack.Image) > 512 || strings.Contains(pack.Image, "{{") {
			t.Fatalf("image %q", pack.Image)
		}
		again, err := ospack.Parse(manifest, version)
		if err != nil || again.Image != pack.Image {
			t.Fatalf("the second time: %+v, %v", again, err)
		}
	})
}
