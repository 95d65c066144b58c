// Package drain empties this host's Node as the node itself. It is small because
// a node may do little: k8s.io/kubectl/pkg/drain asks for DaemonSets, which a node
// may not read, and takes the answer 403 for a pod that is gone (Kubernetes from
// 1.32) for a failure. It knows the options of the operating system pack and their
// meaning there, lists by the node's name, and trusts nothing but the next list.
//
// It neither cordons nor uncordons: that is nodeapi's, under the mark of whoever
// drains.
package drain

import (
	"context"
	"time"

	"hybridagent/nodeadm/nodeapi"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// API is what a drain asks of the Kubernetes API; *nodeapi.Client has it.
type API interface {
	// Pods lists the pods that are bound to the node.
	Pods(ctx context.Context, node string) ([]nodeapi.Pod, error)
	// Evict asks for a pod's eviction.
	Evict(ctx context.Context, pod nodeapi.Pod, removal nodeapi.Removal) error
	// Delete asks for a pod's deletion.
	Delete(ctx context.Context, pod nodeapi.Pod, removal nodeapi.Removal) error
}

// Defaults of the operating system pack.
const (
	defaultTimeout                  = 60 * time.Second
	defaultGracePeriod              = 60
	defaultSkipWaitForDeleteTimeout = 60 * time.Second
)

// Options say how a node is drained.
type Options struct {
	// Cordon the node first; for the caller, as drain does not.
	Cordon bool
	// Timeout of the whole drain; 0: as long as the context allows.
	Timeout time.Duration
	// GracePeriod is how many seconds each pod gets to end; negative: its own.
	GracePeriod int64
	// IgnoreDaemonSets leaves the pods of DaemonSets where they are; without it a
	// node that has such pods is not drained.
	IgnoreDaemonSets bool
	// DeleteLocalData goes on although pods use emptyDir volumes, whose content is
	// lost.
	DeleteLocalData bool
	// Force goes on although pods have no controller that makes them anew.
	Force bool
	// DisableEviction deletes pods instead of evicting them: PodDisruptionBudgets
	// are not asked.
	DisableEviction bool
	// SkipWaitForDeleteTimeout: pods that should have been gone for longer than this
	// are not waited for; 0: all are.
	SkipWaitForDeleteTimeout time.Duration
}

// FromProto takes a profile's options; nil: the defaults.
func FromProto(options *agentv1.DrainOptions) Options {
	if options == nil {
		return Options{
			Cordon: true, Timeout: defaultTimeout, GracePeriod: defaultGracePeriod,
			IgnoreDaemonSets: true, DeleteLocalData: true, Force: true,
			SkipWaitForDeleteTimeout: defaultSkipWaitForDeleteTimeout,
		}
	}
	return Options{
		Cordon:                   options.GetCordon(),
		Timeout:                  options.GetTimeout().AsDuration(),
		GracePeriod:              int64(options.GetGracePeriodSeconds()),
		IgnoreDaemonSets:         options.GetIgnoreDaemonSets(),
		DeleteLocalData:          options.GetDeleteLocalData(),
		Force:                    options.GetForce(),
		DisableEviction:          options.GetDisableEviction(),
		SkipWaitForDeleteTimeout: options.GetSkipWaitForDeleteTimeout().AsDuration(),
	}
}

// remove asks for one pod's removal. A finished pod is deleted: it disturbs
// nobody, and nodeadm counts it.
func (o Options) remove(ctx context.Context, api API, pod nodeapi.Pod, dryRun bool) error {
	removal := nodeapi.Removal{GracePeriod: o.GracePeriod, DryRun: dryRun}
	if o.DisableEviction || finished(pod) {
		return api.Delete(ctx, pod, removal)
	}
	return api.Evict(ctx, pod, removal)
}
