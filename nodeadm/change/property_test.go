package change_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"hybridagent/nodeadm/change"
)

// values are what the words of a drawn story may say; the others take none.
var values = map[string][]string{
	"kind":       {"provision", "repave", "reconfigure", "leave", "abort"},
	"version":    {"", "1.26.1", "1.27.1", "1.28.1", "1.30.4", "1.30.9", "1.31.5", "1.32.0", "2.0.0", "new"},
	"kubelet":    {"", `{"maxPods":77}`, "[]", strings.Repeat("x", 600)},
	"flags":      {"", "--v=4", "--v=2 --a=b"},
	"containerd": {"", "version = 3"},
	"role":       {"arn:other"}, "node-name": {"edge-2"}, "ssm": {"a", "b"}, "was-ssm": {"a"}, "access": {""},
	"cluster": {"lab", "prod", strings.Repeat("é", 400)}, "region": {"eu-west-1"}, "source": {"none", "distro"},
	"ip": {"10.200.0.12"}, "vpn": {"10.200.0.3"}, "vpc": {"10.101.0.0/16"}, "nic": {"lan1"}, "nodeadm": {"https://x"}, "label": {"x"},
	"image": {"a", "b"}, "was-image": {"a"}, "booted": {"a", "b"}, "cordon": {"true", "false"},
	"tracker": {"none", "ok", "broken"}, "unit": {"", "active", "failed", "activating"},
	"api": {"", "v1.31.5", "v1.27.0-eks-1", "1.33", "odd"}, "on-disk": {"", "Kubernetes v1.31.5", "odd"}, "node": {"missing", "unknown"},
}

// sensitive words panic where another one has taken away what they change.
func safely(s *situation, name, value string) {
	if name == "role" && s.wanted.Node.GetAccess().GetIamRolesAnywhere() == nil ||
		strings.HasPrefix(name, "was-") && s.applied.Node == nil {
		return
	}
	words[name](s, value)
}

// drawn is a story of up to eight words.
func drawn(t *rapid.T) (*situation, []string) {
	s, names := healthy(), slices.Sorted(maps.Keys(words))
	var story []string
	for range rapid.IntRange(0, 8).Draw(t, "words") {
		name := rapid.SampledFrom(names).Draw(t, "word")
		value := ""
		if allowed := values[name]; allowed != nil {
			value = rapid.SampledFrom(allowed).Draw(t, "value")
		}
		safely(s, name, value)
		story = append(story, name+"="+value)
	}
	return s, story
}

// TestChooseIsTotal: every input gives a path with reasons or a refusal with a
// next action, within the bounds of a forecast.
func TestChooseIsTotal(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s, story := drawn(t)
		choice, err := change.Choose(s.applied, s.wanted, s.facts)
		if err != nil {
			var refusal *change.Refusal
			if !errors.As(err, &refusal) || refusal.Reason == "" || !strings.Contains(refusal.Message, "; ") {
				t.Fatalf("%v: refused without a next action: %v", story, err)
			}
			return
		}
		if choice.Path == "" || len(choice.Reasons) == 0 || len(choice.Reasons) > 16 {
			t.Fatalf("%v: %+v", story, choice)
		}
		for _, reason := range choice.Reasons {
			if reason == "" || len(reason) > 512 || !utf8.ValidString(reason) {
				t.Fatalf("%v: reason %q of %d bytes", story, reason, len(reason))
			}
		}
	})
}

// TestNeverOutsideTheSkew: no path brings a kubelet that the API server does not
// take, as far as its version is known; where it is not and there is a node, the
// minor version stays.
func TestNeverOutsideTheSkew(t *testing.T) {
	t.Parallel()
	minor := func(text string) int {
		var major, minor int
		if _, err := fmt.Sscanf(strings.TrimPrefix(text, "v"), "%d.%d", &major, &minor); err != nil {
			return -1
		}
		return major*1000 + minor
	}
	rapid.Check(t, func(t *rapid.T) {
		s, story := drawn(t)
		choice, err := change.Choose(s.applied, s.wanted, s.facts)
		if err != nil || choice.Path == change.None || choice.Path == change.Uninstall {
			return
		}
		wanted, api := minor(s.wanted.Node.GetKubernetesVersion()), minor(s.facts.APIVersion)
		switch {
		case api >= 0 && (wanted > api || wanted < api-3):
			t.Fatalf("%v: %s to %s under API %s", story, choice.Path, s.wanted.Node.GetKubernetesVersion(), s.facts.APIVersion)
		case choice.Path == change.Upgrade && api < 0 && wanted != 1030:
			t.Fatalf("%v: upgrade to %s under an unknown API", story, s.wanted.Node.GetKubernetesVersion())
		}
	})
}

// TestNoneOnlyWhereNothingIsToDo: a host that is to be a node is left alone if
// and only if nothing that nodeadm sets up differs and nothing is broken.
func TestNoneOnlyWhereNothingIsToDo(t *testing.T) {
	t.Parallel()
	harmless := []string{"vpn", "vpc", "nic", "nodeadm", "label", "cordon", "old-record", "booted"}
	rapid.Check(t, func(t *rapid.T) {
		s, story := drawn(t)
		choice, err := change.Choose(s.applied, s.wanted, s.facts)
		if err != nil {
			return
		}
		quiet := !slices.ContainsFunc(story, func(text string) bool {
			name, _, _ := strings.Cut(text, "=")
			return !slices.Contains(harmless, name)
		})
		if quiet && choice.Path != change.None {
			t.Fatalf("%v: %s because of %v", story, choice.Path, choice.Reasons)
		}
		if choice.Path != change.None || s.wanted.Kind.String() == "OPERATION_KIND_LEAVE" {
			return
		}
		host := s.facts.Host
		same := s.applied.KubernetesVersion == s.wanted.Node.GetKubernetesVersion() && s.applied.NodeIP == s.wanted.NodeIP &&
			(s.applied.Node == nil || s.applied.Node.GetContainerdConfig() == s.wanted.Node.GetContainerdConfig())
		sound := host.Tracker == "ok" && host.Kubelet && host.Kubeconfig && !host.KubeletConfigEmpty &&
			s.facts.Node != change.Missing && s.facts.KubeletUnit != "failed" && s.facts.KubeletUnit != "activating"
		if !same || !sound || s.wanted.Force {
			t.Fatalf("%v: none with %+v", story, s)
		}
	})
}
