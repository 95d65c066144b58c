package manifest_test

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"hybridagent/plane/kind"
	"hybridagent/plane/manifest"
	"hybridagent/plane/planetest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

const head = "apiVersion: hybrid.plane/v1\nkind: HybridProfile\nmetadata: {name: shop}\nspec:\n"

func TestNoDocumentIsLost(t *testing.T) {
	doc := func(name string) string {
		return "apiVersion: hybrid.plane/v1\nkind: NodePool\nmetadata: {name: " + name + "}\nspec: {}\n"
	}
	for name, text := range map[string]string{
		"plain":               doc("a") + "---\n" + doc("b"),
		"empty between":       doc("a") + "---\n---\n" + doc("b"),
		"comment between":     doc("a") + "---\n# c\n---\n" + doc("b"),
		"leading marker":      "---\n" + doc("a") + "---\n# c\n" + doc("b") + "---\n",
		"end markers":         doc("a") + "...\n# c\n...\n---\n" + doc("b") + "...\n",
		"comment on marker":   "--- # first\n" + doc("a") + "--- # second\n" + doc("b"),
		"directive":           "%YAML 1.2\n---\n" + doc("a") + "---\n" + doc("b"),
		"CRLF and BOM":        "\ufeff" + strings.ReplaceAll(doc("a")+"---\n"+doc("b"), "\n", "\r\n"),
		"JSON after a marker": "--- {\"apiVersion\": \"hybrid.plane/v1\", \"kind\": \"NodePool\", \"metadata\": {\"name\": \"a\"}, \"spec\": {}}\n---\n" + doc("b"),
	} {
		docs, err := manifest.Decode("f", []byte(text))
		if err != nil || len(docs) != 2 || docs[0].Resource.GetMetadata().GetName() != "a" || docs[1].Resource.GetMetadata().GetName() != "b" {
			t.Errorf("%s: got %d documents, %v", name, len(docs), err)
		}
	}
}

func TestErrorsNameThePlace(t *testing.T) {
	for text, want := range map[string]string{
		head + "  vresion: 1.0.0\n":                                 `f:5:3: unknown field "vresion" in HybridProfile.spec; did you mean version?`,
		head + "  version: 1.0\n":                                   "f:5:12: spec.version must be text, not the number 1.0; put it in quotes",
		head + "  version: yes\n  os: []\n":                         "f:6:7: spec.os must be a mapping of fields, not a list",
		head + "  kubernetes: {privateMode: 1}\n":                   "f:5:29: spec.kubernetes.privateMode must be true or false, not the number 1",
		head + "  kubernetes:\n    kubeletFlags: --v=2\n":           `f:6:19: spec.kubernetes.kubeletFlags must be a list, not text; write [--v=2] or one "- " line for each`,
		head + "  kubernetes: {kubeletConfig: 1}\n":                 "f:5:31: spec.kubernetes.kubeletConfig must be a mapping, not the number 1",
		head + "  os: {mode: OS_MODE_AGENT}\n":                      `f:5:14: spec.os.mode must be one of agent, appliance, not "OS_MODE_AGENT"`,
		head + "  os: &o {mode: agent}\n  kubernetes: *x\n":         "f:6:15: alias *x has no anchor before it",
		head + "  version: !!str 1.0\n":                             "f:5:12: tag !!str is not supported; write the value without it",
		head + "  os:\n    <<: {mode: agent}\n":                     "f:6:5: merge keys are not supported; write the fields out",
		"kind: NodePool\n":                                          "f:1:1: apiVersion is missing",
		head + "  version: a\n  version: b\n":                       `f:6:3: mapping key "version" already defined at [5:3]`,
		head + "  version: a\n---\n# c\n---\n" + head + "  x: 1\n":  `f:13:3: unknown field "x" in HybridProfile.spec`,
		"apiVersion: v1\nkind: Pool\nmetadata: {name: a}\nspec: {}": `f:2:7: unknown kind "Pool"`,
	} {
		_, err := manifest.Decode("f", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q\n got %v\nwant %s", text, err, want)
		}
	}
}

func TestWhereFindsTheNearestPlace(t *testing.T) {
	docs, err := manifest.Decode("f", []byte("\n---\n"+head+"  kubernetes:\n    kubeletFlags:\n      - --v=2\n"))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"spec.kubernetes.kubeletFlags[0]": "f:9:9",
		"spec.kubernetes.version":         "f:7:3",
		"spec.os.mode":                    "f:6:1",
		"metadata.name":                   "f:5:12",
		"status":                          "f:3:1",
	} {
		if got := docs[0].Where(path); got != want {
			t.Errorf("%s stands at %s, want %s", path, got, want)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	site := planetest.NewSite(t, "edge-1", "edge-2")
	site.Cluster.GetHybridCluster().EndpointAccess = agentv1.EndpointAccess_ENDPOINT_ACCESS_PRIVATE
	for _, r := range site.All() {
		b, err := manifest.YAML(manifest.Encode(r))
		if err != nil {
			t.Fatal(err)
		}
		docs, err := manifest.Decode("f", b)
		if err != nil || len(docs) != 1 || !proto.Equal(docs[0].Resource, r) {
			t.Errorf("%s came back otherwise: %v\n%s", r.GetKind(), err, b)
		}
	}
}

func TestAnchorsAndEnums(t *testing.T) {
	docs, err := manifest.Decode("f", []byte(head+"  version: &v 1.0.0\n  os: {mode: Appliance, manifest: \"a: b\"}\n  kubernetes: {version: *v, kubeletConfig: {maxPods: 50, list: [1, a, null, true, 1.5]}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	p := docs[0].Resource.GetHybridProfile()
	if p.GetKubernetes().GetVersion() != "1.0.0" || p.GetOs().GetMode() != planev1.OSMode_OS_MODE_APPLIANCE ||
		p.GetKubernetes().GetKubeletConfig().GetFields()["maxPods"].GetNumberValue() != 50 {
		t.Fatalf("got %v", p)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(head + "  version: 1.0.0\n  os: {mode: agent}\n"))
	f.Add([]byte("a: &a [*a]\n---\n- b: |\n  c\n..."))
	f.Add([]byte("{\"apiVersion\": \"hybrid.plane/v1\", \"kind\": \"" + kind.Pool + "\", \"metadata\": null, \"spec\": {\"labels\": {\"a\": \"b\"}}}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		docs, err := manifest.Decode("f", data)
		var errs manifest.Errors
		if err != nil && (!errors.As(err, &errs) || len(errs) == 0) {
			t.Fatalf("an error of another kind: %v", err)
		}
		for _, d := range docs {
			d.Where("spec.x")
			b, err := manifest.YAML(manifest.Encode(d.Resource))
			if err != nil {
				t.Fatal(err)
			}
			again, err := manifest.Decode("f", b)
			if err != nil || len(again) != 1 || !proto.Equal(again[0].Resource, d.Resource) {
				t.Fatalf("came back otherwise: %v\n%s\n%v", err, b, d.Resource)
			}
		}
	})
}
