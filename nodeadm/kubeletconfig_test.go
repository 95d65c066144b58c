package nodeadm_test

import (
	"strings"
	"testing"

	"hybridagent/nodeadm"
)

// TestCheckKubeletConfig: names and kinds are told before kubelet is started anew.
func TestCheckKubeletConfig(t *testing.T) {
	for _, c := range []struct {
		config string
		// faults: none says that it is in order.
		faults []string
	}{
		{``, nil},
		{`{}`, nil},
		{`{"maxPods": 42, "imageMinimumGCAge": "2m0s", "evictionHard": {"memory.available": "100Mi"}, "maxOpenFiles": 10485760, "cpuCFSQuota": true, "podCIDR": null}`, nil},
		{`{"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "failCgroupV1": false, "featureGates": {"A": true}}`, nil},
		{`{"authentication": {"webhook": {"enabled": true, "cacheTTL": "2m"}}, "clusterDNS": ["172.20.0.10"], "staticPodURLHeader": {"X": ["y"]}}`, nil},
		{`{"reservedMemory": [{"numaNode": 0, "limits": {"memory": "1Gi", "hugepages-2Mi": 0}}], "logging": {"flushFrequency": 5000000000, "verbosity": 2, "options": {"json": {"infoBufferSize": "0"}}}}`, nil},
		{`{"memoryThrottlingFactor": 0.9, "registerWithTaints": [{"key": "a", "effect": "NoSchedule"}]}`, nil},

		{`{"maxPods": "abc", "noSuchFieldAtAll": 1}`, []string{`maxPods is "abc", not a whole number`, "noSuchFieldAtAll is no field of kubelet's configuration", "correct it in the HybridProfile"}},
		{`{"maxPods": 1.5, "podPidsLimit": 1e3, "kubeAPIBurst": 3000000000}`, []string{"maxPods is 1.5", "podPidsLimit is 1e3", "kubeAPIBurst is 3000000000"}},
		{`{"MaxPods": 1}`, []string{"MaxPods is no field"}},
		{`{"cpuCFSQuota": "true"}`, []string{`cpuCFSQuota is "true", not true or false`}},
		{`{"imageMinimumGCAge": "2 minutes", "syncFrequency": 5}`, []string{"imageMinimumGCAge", `syncFrequency is 5, not a duration like "2m30s"`}},
		{`{"clusterDNS": "172.20.0.10"}`, []string{"clusterDNS", "not a list"}},
		{`{"clusterDNS": [1]}`, []string{"clusterDNS[0] is 1, not a text"}},
		{`{"evictionHard": {"memory.available": 100}}`, []string{"evictionHard.memory.available is 100, not a text"}},
		{`{"featureGates": {"A": "yes"}, "evictionSoft": []}`, []string{"featureGates.A", "evictionSoft is [], not a mapping"}},
		{`{"authentication": {"webhook": {"cacheTtl": "2m"}, "x509": true}}`, []string{"authentication.webhook.cacheTtl is no field", "authentication.x509 is true, not a mapping"}},
		{`{"reservedMemory": [{"numaNode": "0"}]}`, []string{"reservedMemory.numaNode"}},
		{`{"kind": "Pod"}`, []string{`kind is "Pod", not KubeletConfiguration`}},
		{`[]`, []string{"cannot read the kubelet configuration"}},
		{`{"maxPods": [` + strings.Repeat("1,", 4000) + `1]}`, []string{"maxPods is [1,1,", "…"}},
		{`{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1}`, []string{"a is no field", "and 2 more"}},
	} {
		err := nodeadm.CheckKubeletConfig([]byte(c.config))
		switch {
		case c.faults == nil && err != nil:
			t.Errorf("%s: %v", c.config, err)
		case c.faults != nil && err == nil:
			t.Errorf("%.60s passes, want %q", c.config, c.faults)
		case err != nil && len(err.Error()) > 1024:
			t.Errorf("%.60s: a message of %d bytes", c.config, len(err.Error()))
		}
		for _, fault := range c.faults {
			if err != nil && !strings.Contains(err.Error(), fault) {
				t.Errorf("%.60s: %v lacks %q", c.config, err, fault)
			}
		}
	}
}
