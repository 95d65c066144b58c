package facts

import "strings"

// Steps of Case.Setup, in the order in which they are listed. A clean host has containerd (unit enabled and running, a
// configuration of its own), a machine certificate and an /etc/fstab.
const (
	StepInstall   = "install 1.30" // nodeadm install, successfully
	StepInit      = "init"         // nodeadm init with the base configuration, successfully
	StepUninstall = "uninstalled"  // what an uninstall takes away is gone, what it leaves is there

	StepRemove = "remove " // + path
	StepEmpty  = "empty "  // + path

	StepCertificateExpired = "certificate expired"
	StepContainerdStopped  = "containerd stopped"
	StepContainerdNoUnit   = "containerd without unit"

	StepECRDenied     = "ecr denied"
	StepKubeDown      = "kubernetes api down"
	StepEKSDown       = "eks down"
	StepArtifactsDown = "artifacts down"
	StepStall         = "artifacts stall"

	StepNodeCordoned    = "node cordoned"    // the API has the Node, unschedulable
	StepNodeSchedulable = "node schedulable" // the API has the Node
	StepPodLeft         = "pod left"         // a pod without a controller is bound to it
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
	steps = append(steps, r.faults()...)
	return append(steps, r.node()...)
}

// node derives what the API knows of the node; only upgrade and uninstall ask.
func (r *recording) node() []string {
	var steps []string
	node := r.Initial.Fake.Node
	if len(r.Command) < 2 || r.Command[1] != "uninstall" || r.Initial.Tracker == nil || node == nil {
		return nil
	}
	if node.Unschedulable {
		steps = append(steps, StepNodeCordoned)
	} else {
		steps = append(steps, StepNodeSchedulable)
	}
	if len(r.Initial.Fake.Pods) > 0 {
		steps = append(steps, StepPodLeft)
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
	add(in.Fake.EKS != "", StepEKSDown)
	add(strings.Contains(in.Fake.ArtifactServer, "refused"), StepArtifactsDown)
	add(strings.Contains(in.Fake.ArtifactServer, "stalls"), StepStall)
	return steps
}
