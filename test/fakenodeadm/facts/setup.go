package facts

import "strings"

// Steps of Case.Setup, in the order in which they are listed. A clean host has containerd (unit enabled and running, a
// configuration of its own), a machine certificate and an /etc/fstab.
const (
	StepInstall   = "install 1.30" // nodeadm install, successfully
	StepInit      = "init"         // nodeadm init with the base configuration, successfully
	StepUninstall = "uninstalled"  // what an uninstall takes away is gone, what it leaves is there

	StepUpgrade = "upgraded to 1.31" // nodeadm upgrade, successfully

	StepRemove   = "remove "   // + path
	StepTruncate = "truncate " // + path; to 40 bytes
	StepLeftover = "leftover " // + path; a download that was cut off
	StepEmpty    = "empty "    // + path

	StepCertificateExpired = "certificate expired"
	StepContainerdStopped  = "containerd stopped"
	StepContainerdNoUnit   = "containerd without unit"

	StepECRDenied     = "ecr denied"
	StepKubeDown      = "kubernetes api down"
	StepKubeHangs     = "kubernetes api hangs"
	StepEKSDown       = "eks down"
	StepArtifactsDown = "artifacts down"
	StepStall         = "artifacts stall"

	StepNodeCordoned    = "node cordoned"    // the API has the Node, unschedulable
	StepNodeSchedulable = "node schedulable" // the API has the Node
	StepPodLeft         = "pod left"         // a pod without a controller is bound to it
	StepDaemonPod       = "daemonset pod"    // a pod of a DaemonSet is bound to it
	StepCrashLoop       = "kubelet crash-loops"
	StepCNIFiles        = "cni files" // in /etc/cni/net.d and /var/lib/cni
)

const (
	trackerPath = "/opt/nodeadm/tracker"
	certPath    = "/etc/iam/pki/server.pem"
)

// setup derives the steps from the recording's description of the initial state.
func (r *recording) setup() []string {
	in := r.Initial
	has := func(path string) bool { return in.Files[path] == "present" }
	var steps []string
	initialised := has("/var/lib/kubelet/kubeconfig")
	uninstalled := has("/etc/aws/hybrid/config") && !has("/etc/systemd/system/kubelet.service")
	installed := has("/etc/systemd/system/kubelet.service")
	if installed || uninstalled {
		steps = append(steps, StepInstall)
	}
	if initialised || uninstalled {
		steps = append(steps, StepInit)
	}
	if uninstalled {
		steps = append(steps, StepUninstall)
	}
	if installed && !has("/usr/bin/kubelet") {
		steps = append(steps, StepRemove+"/usr/bin/kubelet")
	}
	switch {
	case installed && in.Tracker == nil:
		steps = append(steps, StepRemove+trackerPath)
	case installed && *in.Tracker == "":
		steps = append(steps, StepEmpty+trackerPath)
	}
	for _, f := range r.FilesChanged.Modified {
		if !f.SameContent && f.Before.Size == 0 {
			steps = append(steps, StepEmpty+f.Path)
		}
	}
	if strings.Contains(in.Description, "config.json was emptied") {
		steps = append(steps, StepEmpty+"/etc/kubernetes/kubelet/config.json")
	}
	steps = append(steps, r.upgraded()...)
	steps = append(steps, r.faults()...)
	return append(steps, r.node()...)
}

const (
	kubeletPath = "/usr/bin/kubelet"
	cniArchive  = "/opt/cni/plugins/cni-plugins.tgz"
)

// upgraded derives what an earlier upgrade left: all of the new version, where this one had nothing to replace; a cut-off kubelet
// or CNI archive after a kill.
func (r *recording) upgraded() []string {
	if !r.is("upgrade") || !r.installed() {
		return nil
	}
	var steps []string
	replaces := false
	for _, f := range r.FilesChanged.Modified {
		if f.Path == kubeletPath {
			replaces = true
			if f.Before.Size == 40 {
				steps = append(steps, StepTruncate+kubeletPath)
			}
		}
	}
	if strings.Contains(r.Initial.Description, "then upgraded to") || r.ExitCode == 0 && !replaces {
		steps = append(steps, StepUpgrade)
	}
	for _, f := range r.FilesChanged.Removed {
		if f.Path == cniArchive {
			steps = append(steps, StepLeftover+cniArchive)
		}
	}
	return steps
}

func (r *recording) is(command string) bool { return len(r.Command) > 1 && r.Command[1] == command }

// installed: a tracker with something in it.
func (r *recording) installed() bool { return r.Initial.Tracker != nil && *r.Initial.Tracker != "" }

// node derives what the API knows of the node; only upgrade and uninstall ask.
func (r *recording) node() []string {
	var steps []string
	node := r.Initial.Fake.Node
	if !r.is("uninstall") && !r.is("upgrade") || r.Initial.Tracker == nil || node == nil {
		return nil
	}
	if node.Unschedulable {
		steps = append(steps, StepNodeCordoned)
	} else {
		steps = append(steps, StepNodeSchedulable)
	}
	for _, pod := range r.Initial.Fake.Pods {
		if strings.Contains(string(pod), `"DaemonSet"`) {
			steps = append(steps, StepDaemonPod)
		} else {
			steps = append(steps, StepPodLeft)
		}
	}
	if r.Initial.Units["kubelet"]["SubState"] == "auto-restart" {
		steps = append(steps, StepCrashLoop)
	}
	if strings.Contains(r.Initial.Description, "/var/lib/cni") {
		steps = append(steps, StepCNIFiles)
	}
	return steps
}

func (r *recording) faults() []string {
	in := r.Initial
	var steps []string
	add := func(when bool, step string) {
		if when {
			steps = append(steps, step)
		}
	}
	add(in.Files[certPath] == "absent", StepRemove+certPath)
	add(strings.Contains(in.Description, "certificate file is empty"), StepEmpty+certPath)
	add(strings.Contains(in.Description, "certificate expired"), StepCertificateExpired)
	add(in.Files["/usr/bin/containerd"] == "absent", StepRemove+"/usr/bin/containerd")
	add(in.Units["containerd"]["ActiveState"] == "inactive", StepContainerdStopped)
	add(in.Units["containerd"]["LoadState"] == "not-found", StepContainerdNoUnit)
	add(in.Fake.ECRToken == "denied", StepECRDenied)
	add(strings.Contains(in.Fake.KubeAPI, "refused"), StepKubeDown)
	add(strings.Contains(in.Fake.KubeAPI, "never answers"), StepKubeHangs)
	add(in.Fake.EKS != "", StepEKSDown)
	add(strings.Contains(in.Fake.ArtifactServer, "refused"), StepArtifactsDown)
	add(strings.Contains(in.Fake.ArtifactServer, "stalls"), StepStall)
	return steps
}
