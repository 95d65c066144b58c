package drain

import (
	"time"

	"hybridagent/nodeadm/nodeapi"
)

// sorted is what becomes of each pod of a node.
type sorted struct {
	// going are asked to go; finished are deleted; ending were asked already.
	going, finished, ending []nodeapi.Pod
	// skipped should be gone and are not waited for.
	skipped []nodeapi.Pod
	// static are mirrors of static pods: only their file ends them.
	static []nodeapi.Pod
	// daemons are pods of DaemonSets, which stay.
	daemons []nodeapi.Pod
	// refused are those that the options do not allow to remove.
	refused []Stuck
}

// left counts the pods that a drain still waits for.
func (s sorted) left() []nodeapi.Pod {
	all := append([]nodeapi.Pod{}, s.going...)
	return append(append(all, s.finished...), s.ending...)
}

// sortPods decides. Its order matters: a mirror cannot be removed whoever owns
// it, and neither local data nor a missing controller keeps a pod that has ended
// or is ending anyway.
func sortPods(pods []nodeapi.Pod, options Options, now time.Time) sorted {
	var s sorted
	for _, pod := range pods {
		switch {
		case pod.Mirror:
			s.static = append(s.static, pod)
		case ofDaemonSet(pod) && options.IgnoreDaemonSets:
			s.daemons = append(s.daemons, pod)
		case overdue(pod, options.SkipWaitForDeleteTimeout, now):
			s.skipped = append(s.skipped, pod)
		case !pod.DeletionTimestamp.IsZero():
			s.ending = append(s.ending, pod)
		case ofDaemonSet(pod):
			s.refused = append(s.refused, Stuck{Pod: pod, Why: DaemonSet})
		case finished(pod):
			s.finished = append(s.finished, pod)
		case pod.EmptyDir && !options.DeleteLocalData:
			s.refused = append(s.refused, Stuck{Pod: pod, Why: LocalData})
		case pod.Controller == "" && !options.Force:
			s.refused = append(s.refused, Stuck{Pod: pod, Why: Unmanaged})
		default:
			s.going = append(s.going, pod)
		}
	}
	return s
}

// ofDaemonSet tells a pod of a DaemonSet by its owner alone: a node may not read
// the DaemonSet itself.
func ofDaemonSet(pod nodeapi.Pod) bool {
	return pod.Controller == "DaemonSet" && pod.ControllerAPI == "apps/v1"
}

func finished(pod nodeapi.Pod) bool { return pod.Phase == "Succeeded" || pod.Phase == "Failed" }

// overdue tells a pod that should have been gone for longer than allowed.
func overdue(pod nodeapi.Pod, allowed time.Duration, now time.Time) bool {
	return allowed > 0 && !pod.DeletionTimestamp.IsZero() && now.Sub(pod.DeletionTimestamp) > allowed
}
