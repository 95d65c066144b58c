package tools

import (
	"strings"
	"testing"
)

func TestContainerdsConfigurationFitsTheLab(t *testing.T) {
	t.Parallel()
	const nodeadms = `version = 2
[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    sandbox_image = "602401143452.dkr.ecr.us-west-2.amazonaws.com/eks/pause:3.5"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
    SystemdCgroup = true
`
	for _, text := range []string{nodeadms, "version = 2\n"} {
		got := labContainerdConfig(text, "lab/pause:1")
		for _, want := range []string{"restrict_oom_score_adj = true", `sandbox_image = "lab/pause:1"`} {
			if strings.Count(got, want) != 1 {
				t.Errorf("want one %s in\n%s", want, got)
			}
		}
		if strings.Contains(got, "SystemdCgroup = true") || strings.Contains(got, "amazonaws") {
			t.Errorf("systemd cgroups or ECR's pause are left in\n%s", got)
		}
	}
}
