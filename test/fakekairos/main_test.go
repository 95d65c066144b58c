package main

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"hybridagent/test/fakenodeadm/lab"
)

// TestMain plays the program itself where a test started this binary under a role's name.
func TestMain(m *testing.M) {
	if role := os.Getenv("STANDIN_ROLE"); role != "" {
		os.Args[0] = role
		main()
		return
	}
	os.Exit(m.Run())
}

func TestEveryRoleRefusesOutsideALab(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(lab.Dir); err == nil {
		t.Fatalf("%s exists here: this test must run outside a lab host", lab.Dir)
	}
	for _, role := range []string{"kairos-agent", "grub2-editenv", "fakekairos-boot"} {
		cmd := exec.Command(os.Args[0], "upgrade")
		cmd.Env = append(os.Environ(), "STANDIN_ROLE="+role)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != lab.ExitNotALab || !strings.Contains(string(out), "refuses to run outside a lab") {
			t.Errorf("%s: %v %s, want exit %d and a refusal", role, err, out, lab.ExitNotALab)
		}
	}
}
