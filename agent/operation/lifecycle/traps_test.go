package lifecycle

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// traps lists what nodeadm v1.0.20 does that an operation must handle or refuse,
// and the test that shows it: in this package, or in the folder before the dot.
func traps() map[string]string {
	return map[string]string{
		"exit 0 without a tracker, nothing done":                           "TestFailedChangesReturn",
		"rc 0 and kubelet dies 6 s later":                                  "TestBrokenKubeletReturns",
		"waits without end for a kubelet that exits at once":               "TestBrokenKubeletReturns",
		"no deadline of its own; grandchildren outlive -t":                 "TestHangingNodeadm",
		"the activation code in argv and logs":                             "TestSecretsAreRedacted",
		"activation expired, wrong, used up":                               "TestActivationFailures",
		"a new SSM registration would be another Node":                     "TestSSMKeepsItsInstance",
		"neither drains nor cordons nor uncordons":                         "TestRepave",
		"its pod check counts finished and static pods":                    "TestUpgradeSkipsPodValidationOnlyAfterOurDrain",
		"insists on a cordoned node":                                       "TestRefusals",
		"no version guard":                                                 "TestRefusals",
		"needs the API: 7 s refused, 120 s hanging":                        "TestRefusals",
		"config-only change is init, without a drain":                      "TestRepave",
		"a containerd drop-in survives":                                    "TestContainerdDropInGoes",
		"another credential provider takes uninstall, install, init":       "TestRepave",
		"an upgrade that fails at DescribeCluster leaves new binaries":     "TestFailedChangesReturn",
		"truncated kubelet: upgrade again":                                 "TestFailedChangesReturn",
		"missing kubelet: install, then upgrade":                           "TestFailedChangesReturn",
		"empty config.json: init":                                          "TestLocalRepair",
		"empty tracker: delete, install":                                   "TestFailedChangesReturn",
		"a first install that fetches during the outage":                   "TestUnreachableArtifactServer",
		"drops swap from /etc/fstab, which must exist":                     "TestFstab",
		"install over a node of another provider":                          "TestProvisionAfterAnotherProvider",
		"uninstall forgets files, links, units":                            "TestLeaveThenJoinAnotherCluster",
		"uninstall forgets running containers":                             "TestLeaveEndsContainers",
		"uninstall --force removes across mount points":                    "TestRemovalLeavesMountedData",
		"uninstall removes /root/.aws with SSM":                            "TestLeaveKeepsTheOperatorsAWSFiles",
		"uninstall without a tracker, with an empty one":                   "TestLeaveFromHalfAHost",
		"uninstall needs the API while kubelet runs":                       "TestLeaveWithoutTheAPI",
		"a node may not delete its own Node":                               "TestLeaveSaysWhatStays",
		"nodeadm is not atomic: a power cut at any step":                   "TestCrashAtEveryJournalWrite",
		"node IP outside the remote node networks passes unseen":           "TestPreflight",
		"an address that the host does not own passes":                     "TestWaitsForAddressAndClock",
		"--skip none, without which init leaves a check out":               "TestProvision",
		"install over a running node swaps binaries":                       "TestLostRecord",
		"usage errors and panics exit 2":                                   "TestBadNodeadm",
		"kubelet configuration is handed through unread":                   "nodeadm.TestCheckKubeletConfig",
		"a checksum mismatch leaves the bad kubelet":                       "test/fakenodeadm/command.TestChecksumMismatchLeavesTheBadKubelet",
		"a wrong checksum is found while everything still runs":            "nodeadm/artifact.TestStageFailures",
		"a 404 is tried nine times":                                        "test/fakenodeadm/command.TestMissingArtifactIsTriedNineTimes",
		"--node-ip in two words is ignored":                                "test/fakenodeadm/command.TestNodeIPInTwoWordsIsIgnored",
		"endpoint, CA and cidr skip checks":                                "test/fakenodeadm/command.TestClusterDetailsInNodeConfigSkipChecks",
		"D-Bus is needed":                                                  "test/fakenodeadm/command.TestNoSystemdFailsConfigCheck",
		"an upgrade may upgrade the whole system":                          "test/fakenodeadm/command.TestTheWholeSystemIsUpgradedUnlessPrivate",
		"labels count only when the Node is made":                          "nodeadm/nodeapi.TestSetLabels",
		"an ECR token that is denied: configuration is written, exit 1":    "nodeadm.TestRecordedRuns",
		"a missing containerd binary hangs, a missing unit fails":          "nodeadm.TestRecordedRuns",
		"the Node object is missing":                                       "nodeadm.TestSaidFailures",
		"an MTU of neither 68-1500 nor 8000-9001":                          "nodeadm.TestSaidFailures",
		"a proxy on an operating system that nodeadm does not know":        "nodeadm.TestSaidFailures",
		"a stopped kubelet skips nodeadm's own checks":                     "nodeadm/change.TestStories",
		"a vanished pod answers 403":                                       "nodeadm/drain.TestPodsThatVanishAreForbidden",
		"kubelet not stopped by a run that was aborted, and half a change": "TestAbortAtEveryStep",
	}
}

// TestEveryTrapHasItsTest keeps the list above true.
func TestEveryTrapHasItsTest(t *testing.T) {
	t.Parallel()
	for trap, name := range traps() {
		folder, test, elsewhere := strings.Cut(name, ".")
		if !elsewhere {
			folder, test = "agent/operation/lifecycle", name
		}
		files, err := filepath.Glob(filepath.Join("../../..", folder, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			found = found || strings.Contains(string(content), "\nfunc "+test+"(t *testing.T) {")
		}
		if !found {
			t.Errorf("%s: there is no %s", trap, name)
		}
	}
}
