package nodeadm_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"hybridagent/nodeadm"
	"hybridagent/test/fakenodeadm/facts"
)

// Verdicts of the contract.
const (
	success   = "success"
	permanent = "permanent"
	passing   = "passing"
)

// verdicts are what Judge must make of each recorded run of the real nodeadm, and
// a part of the message with the next action. Runs that are no command of the
// agent's (help, usage) are judged as the command they began with.
func verdicts() map[string][2]string {
	return map[string][2]string{
		"03b-unknown-flag":                                 {permanent, "v1.0.20"},
		"03c-init-without-config-source":                   {permanent, "v1.0.20"},
		"04-config-check-ok":                               {success},
		"05-config-check-missing-certificatepath":          {permanent, "report it"},
		"06-config-check-unknown-field":                    {permanent, "correct that field in the HybridProfile"},
		"07-install-clean":                                 {success},
		"07b-install-version-not-in-manifest":              {permanent, "that nodeadm's manifest lists"},
		"08-install-again":                                 {success},
		"09-init-without-tracker":                          {passing, "exited 0 having done nothing: there is no tracker"},
		"10-init-ok":                                       {success},
		"10b-init-ok-without-skip-option":                  {success},
		"10c-init-ok-enable-credentials-file":              {success},
		"10e-init-kubelet-exits-after-6s":                  {success},
		"11-init-again-changed-kubelet-config":             {success},
		"12-init-node-ip-outside-remote-networks":          {permanent, "choose a NIC"},
		"13-init-hostname-override":                        {permanent, "remove --hostname-override"},
		"14-upgrade-without-tracker":                       {passing, "exited 0 having done nothing: there is no tracker"},
		"14b-uninstall-without-tracker":                    {success},
		"15-upgrade-refused-not-cordoned":                  {passing, "leave it cordoned"},
		"16-upgrade-refused-pod-left":                      {passing, "kubectl get pods"},
		"17-upgrade-refused-succeeded-pod-left":            {passing, "finished ones count too"},
		"18-upgrade-ok":                                    {success},
		"18c-upgrade-version-not-in-manifest":              {permanent, "that nodeadm's manifest lists"},
		"18d-upgrade-bad-version-text":                     {permanent, "must have the form 1.31.5"},
		"20-downgrade":                                     {success},
		"21-upgrade-api-unreachable":                       {passing, "API endpoint through the VPN"},
		"21b-upgrade-api-hangs":                            {passing, "API endpoint through the VPN"},
		"21c-init-api-unreachable":                         {passing, "API endpoint through the VPN"},
		"21e-init-aws-unreachable":                         {passing, "EKS service endpoint"},
		"21f-uninstall-api-unreachable":                    {passing, "API endpoint through the VPN"},
		"21g-upgrade-api-unreachable-skip-init-validation": {passing, "API endpoint through the VPN"},
		"22a-upgrade-killed":                               {passing, "SIGKILL"},
		"22b-upgrade-rerun-after-kill":                     {success},
		"22d-upgrade-rerun-after-late-kill":                {success},
		"23a-upgrade-kubelet-binary-missing":               {permanent, "repave the host, which installs it"},
		"23b-install-to-repair-missing-kubelet":            {success},
		"23c-upgrade-after-repair":                         {success},
		"24a-empty-tracker-uninstall":                      {passing, "tracker /opt/nodeadm/tracker is damaged"},
		"24b-empty-tracker-upgrade":                        {passing, "tracker /opt/nodeadm/tracker is damaged"},
		"24c-empty-tracker-init":                           {passing, "tracker /opt/nodeadm/tracker is damaged"},
		"24d-empty-tracker-install":                        {passing, "tracker /opt/nodeadm/tracker is damaged"},
		"25a-empty-kubelet-config-upgrade":                 {passing, "runs nodeadm init first"},
		"25c-empty-kubelet-config-init-repairs":            {success},
		"25d-upgrade-after-repair":                         {success},
		"26-init-ecr-token-denied":                         {permanent, "ecr:GetAuthorizationToken"},
		"26b-upgrade-ecr-token-denied":                     {permanent, "kubelet may run with the new version already"},
		"26c-upgrade-rerun-after-ecr-repaired":             {success},
		"27-uninstall-ok":                                  {success},
		"28-uninstall-again":                               {success},
		"28b-install-after-uninstall":                      {success},
		"29-uninstall-refused-not-cordoned":                {passing, "leave it cordoned"},
		"29b-uninstall-refused-not-drained":                {passing, "kubectl get pods"},
		"30-uninstall-force":                               {success},
		"31-upgrade-skip-pod-validation-static-pod":        {success},
		"32-init-expired-certificate":                      {permanent, "check the host's clock"},
		"32b-init-certificate-missing":                     {permanent, "asks the plane for a new certificate"},
		"32c-init-certificate-empty":                       {permanent, "asks the plane for a new certificate"},
		"34-install-artifact-server-down":                  {passing, "artifact server"},
		"34b-install-artifact-server-stalls-timeout":       {passing, "artifact server"},
		"35-init-containerd-binary-missing":                {passing, "SIGKILL"},
		"35b-init-containerd-unit-missing":                 {permanent, "install containerd in the host's image"},
		"35c-init-containerd-stopped":                      {success},
		"36-uninstall-kubelet-crash-looping-pod-left":      {success},
		"36b-upgrade-kubelet-crash-looping-pod-left":       {success},
		"38-init-tracker-lost":                             {passing, "exited 0 having done nothing: there is no tracker"},
	}
}

// TestRecordedRuns judges every recorded run of the real nodeadm.
func TestRecordedRuns(t *testing.T) {
	t.Parallel()
	table, err := facts.Load("../test/fakenodeadm/testdata/facts.json")
	if err != nil {
		t.Fatal(err)
	}
	wanted := verdicts()
	for i := range table.Cases {
		c := &table.Cases[i]
		command, ok := commandOf(c.Args)
		if !ok {
			continue
		}
		want, ok := wanted[c.Name]
		delete(wanted, c.Name)
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			if !ok {
				t.Fatalf("the recorded run %q has no verdict", c.Name)
			}
			before, after := evidenceOf(table, c, command)
			checkVerdict(t, nodeadm.Judge(command, exitOf(table, c), before, after, trackerOf(c.Tracker)), want[0], want[1])
		})
	}
	for name := range wanted {
		t.Errorf("%s has a verdict and is not in the table", name)
	}
}

func checkVerdict(t *testing.T, err error, verdict, fragment string) {
	t.Helper()
	if verdict == success {
		if err != nil {
			t.Errorf("Judge = %v", err)
		}
		return
	}
	var failure *nodeadm.Failure
	if !errors.As(err, &failure) || failure.Permanent != (verdict == permanent) || !strings.Contains(failure.Message, fragment) {
		t.Fatalf("Judge = %+v, want %s with %q", err, verdict, fragment)
	}
	if !strings.Contains(failure.Message, "; ") {
		t.Errorf("%q names no next action", failure.Message)
	}
}

// commandOf is the command of the agent's that the arguments begin with; false for
// help, versions and other words.
func commandOf(args []string) (nodeadm.Command, bool) {
	line := strings.Join(args, " ")
	if strings.Contains(line, "--help") {
		return "", false
	}
	for _, command := range []nodeadm.Command{nodeadm.Install, nodeadm.ConfigCheck, nodeadm.Init, nodeadm.Upgrade, nodeadm.Uninstall} {
		if line == string(command) || strings.HasPrefix(line, string(command)+" ") {
			return command, true
		}
	}
	return "", false
}

// evidenceOf is what was there before and after, by the setup and the changes.
func evidenceOf(table *facts.Table, c *facts.Case, command nodeadm.Command) (before, after nodeadm.Evidence) {
	watched := []string{nodeadm.TrackerPath, nodeadm.KubeletPath, nodeadm.KubeconfigPath, "/etc/kubernetes/kubelet/config.json"}
	before, after = nodeadm.Evidence{}, nodeadm.Evidence{}
	put := func(paths ...string) {
		for _, path := range paths {
			before[path] = "1"
		}
	}
	for _, step := range c.Setup {
		what, path, _ := strings.Cut(step, " ")
		switch what {
		case "install":
			put(watched[:2]...)
		case "init", "upgrade":
			put(watched[2:]...)
		case "uninstalled":
			clear(before)
		case "remove":
			delete(before, path)
		case "empty":
			before[path] = "empty 1"
		}
	}
	for path, stamp := range before {
		after[path] = stamp
	}
	for path, change := range table.FilesOf(c) {
		for _, one := range watched {
			switch {
			case strings.HasPrefix(change, "removed") && (one == path || strings.HasPrefix(one, path+"/")):
				delete(after, one)
			case !strings.HasPrefix(change, "removed") && one == path:
				after[one] = "2"
			}
		}
	}
	return before, after
}

func trackerOf(state string) error {
	switch state {
	case "absent":
		return nodeadm.ErrNoTracker
	case "empty":
		return &nodeadm.BrokenTrackerError{Path: nodeadm.TrackerPath, Reason: "it is empty"}
	}
	return nil
}

func exitOf(table *facts.Table, c *facts.Case) nodeadm.Exit {
	exit := nodeadm.Exit{Code: c.Exit}
	if c.Exit == 137 {
		exit = nodeadm.Exit{Code: -1, Signal: "SIGKILL"}
	}
	for _, line := range table.MessagesOf(c) {
		exit.Lines = append(exit.Lines, lineOf(line))
	}
	return exit
}

// lineOf turns a line of the table back into one of nodeadm's.
func lineOf(text string) nodeadm.Line {
	level, rest, _ := strings.Cut(text, " ")
	if level == "raw" {
		return nodeadm.ParseLine(rest)
	}
	fields := map[string]any{"level": level}
	for _, key := range []string{"remediation", "error", "validation", "name"} {
		head, tail, found := strings.Cut(rest, " "+key+"=")
		var value any
		if found && json.NewDecoder(strings.NewReader(tail)).Decode(&value) == nil {
			fields[key] = value
			if key == "error" || key == "name" {
				rest = head
			}
		}
	}
	fields["msg"] = rest
	raw, err := json.Marshal(fields)
	if err != nil {
		return nodeadm.Line{Message: text}
	}
	return nodeadm.ParseLine(string(raw))
}

// TestSaidFailures are failures that no run recorded, with the texts of nodeadm's,
// the SSM agent's and the Go library's sources.
func TestSaidFailures(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text, verdict, fragment string
		command                       nodeadm.Command
	}{
		{"SSM expired, as nodeadm says it", "SSM activation expired. Please use a valid activation", permanent, "has expired", nodeadm.Init},
		{"SSM expired", "exit status 1: ERROR Registration failed due to error registering the instance with AWS SSM. ActivationExpired:", permanent, "has expired", nodeadm.Init},
		{"SSM used up", "ERROR Registration failed due to error registering the instance with AWS SSM. RegistrationLimitExceeded: Registration limit of 1 reached", permanent, "is used up", nodeadm.Init},
		{"SSM account full", "ERROR Registration failed due to error registering the instance with AWS SSM. RegistrationLimitExceeded: Registration limit of 20000 reached for SSM On-prem managed instances.", permanent, "quota", nodeadm.Init},
		{"SSM wrong, as nodeadm says it", "invalid SSM activation. Please use a valid activation code, activation id and region", permanent, "is wrong", nodeadm.Init},
		{"SSM wrong", "ERROR Registration failed due to error registering the instance with AWS SSM. InvalidActivation:", permanent, "is wrong", nodeadm.Init},
		{"SSM unreachable", "ERROR Registration failed due to error registering the instance with AWS SSM. RequestError: send request failed", passing, "service's endpoint", nodeadm.Init},
		{"SSM installer's key expired", "failed to install ssm installer: validating ssm-setup-cli signature: openpgp: key expired", permanent, "newer nodeadm", nodeadm.Upgrade},
		{"Node deleted", `node not initialized. Please use nodeadm init command to bootstrap a node. err: nodes "edge-1" not found`, permanent, "registers it", nodeadm.Upgrade},
		{"kubeconfig gone", "node not initialized. Please use nodeadm init command to bootstrap a node. err: open /var/lib/kubelet/kubeconfig: no such file or directory", permanent, "writes it anew", nodeadm.Upgrade},
		{"MTU", "invalid MTU 1600 on interface lan0: it must be 68-1500 or 8000-9001", permanent, "give the NIC an MTU", nodeadm.Init},
		{"proxy on another OS", "unsupported operating system for the proxy configuration: debian", permanent, "nodeadm.environment", nodeadm.Init},
		{"patch not in the manifest", "Kubernetes patch version mismatch: requested 1.31.9 but manifest contains 1.31.5", permanent, "manifest lists", nodeadm.Upgrade},
		{"Region not in the manifest", "region eu-west-9 not found in manifest", permanent, "correct the Region", nodeadm.Install},
		{"architecture not in the manifest", "could not find artifact for riscv64 arch and linux os", permanent, "architecture", nodeadm.Install},
		{"disk full", "installing kubelet: write /usr/bin/kubelet: no space left on device", passing, "free space", nodeadm.Install},
		{"read-only system", "open /usr/bin/kubelet: read-only file system", permanent, "appliance mode", nodeadm.Install},
		{"clock wrong", "operation error STS: GetCallerIdentity, api error SignatureDoesNotMatch: Signature expired", passing, "check the host's clock", nodeadm.Init},
		{"no access entry", "the server has asked for the client to provide credentials", permanent, "HYBRID_LINUX", nodeadm.Init},
		{"intercepting proxy", `Get "https://x": tls: failed to verify certificate: x509: certificate signed by unknown authority`, permanent, "trust store", nodeadm.Install},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			checkVerdict(t, nodeadm.Judge(c.command, nodeadm.Exit{Code: 1, Lines: fatal(c.text)}, nil, nil, nil), c.verdict, c.fragment)
		})
	}
}

// TestUpgradeAndUninstallArgs: what is skipped is the caller's to say, and one
// word each.
func TestUpgradeAndUninstallArgs(t *testing.T) {
	t.Parallel()
	spec := rolesAnywhere()
	for _, c := range []struct {
		got  []string
		want string
	}{
		{nodeadm.UpgradeArgs(spec, "/x/n.yaml", "file:///m.yaml", 600e9, nodeadm.SkipPods), "upgrade 1.31.5 -c file:///x/n.yaml -t 10m0s -m file:///m.yaml --private-mode --skip pod-validation"},
		{nodeadm.UpgradeArgs(ssm(), "/x/n.yaml", "", 600e9), "upgrade 1.30.4 -c file:///x/n.yaml -t 10m0s"},
		{nodeadm.UninstallArgs(false), "uninstall"},
		{nodeadm.UninstallArgs(true, nodeadm.SkipPods, nodeadm.SkipNode), "uninstall --force --skip pod-validation,node-validation"},
	} {
		if got := strings.Join(c.got, " "); got != c.want {
			t.Errorf("arguments %q, want %q", got, c.want)
		}
		if slices.ContainsFunc(c.got, func(arg string) bool { return strings.Contains(arg, " ") }) {
			t.Errorf("an argument of %q has two words", c.got)
		}
	}
}
