package drain

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"hybridagent/nodeadm/nodeapi"
)

// parallel bounds how many pods are asked to go at once.
const parallel = 8

// Report is what a drain would do.
type Report struct {
	// Going are pods that would be evicted or deleted, Finished pods that have
	// ended and would be deleted, Ending pods that were asked to go already.
	Going, Finished, Ending []nodeapi.Pod
	// Skipped should have been gone and would not be waited for; Static are static
	// pods, DaemonSets those of DaemonSets: all of these would stay.
	Skipped, Static, DaemonSets []nodeapi.Pod
	// Blocking are the pods that stand in the way now: those that the options do
	// not allow to remove, and those whose PodDisruptionBudget allows no eviction,
	// which may change.
	Blocking []Stuck
}

// Err is a *Blocked of what stands in the way, or nil.
func (r Report) Err(node string) error {
	if len(r.Blocking) == 0 {
		return nil
	}
	total := len(r.Going) + len(r.Finished) + len(r.Ending)
	for _, stuck := range r.Blocking {
		if stuck.byOptions() {
			total++
		}
	}
	return &Blocked{Node: node, Total: total, Pods: r.Blocking}
}

// byOptions tells what no waiting changes.
func (s Stuck) byOptions() bool {
	return s.Why == DaemonSet || s.Why == LocalData || s.Why == Unmanaged
}

// Check finds out what a drain would do, and what stands in its way, without
// changing anything: each pod's eviction is asked for as a dry run. Two pods under
// one PodDisruptionBudget that allows a single disruption pass both. Errors: the
// API server cannot be reached, or does not let this node list its pods.
func Check(ctx context.Context, api API, node string, options Options) (Report, error) {
	pods, err := api.Pods(ctx, node)
	if err != nil {
		return Report{}, err
	}
	s := sortPods(pods, options, time.Now())
	report := Report{
		Going: s.going, Finished: s.finished, Ending: s.ending,
		Skipped: s.skipped, Static: s.static, DaemonSets: s.daemons, Blocking: s.refused,
	}
	var mutex sync.Mutex
	group, grouped := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, pod := range s.going {
		group.Go(func() error {
			stuck, err := try(grouped, api, pod, options)
			if err == nil && stuck != nil {
				mutex.Lock()
				defer mutex.Unlock()
				report.Blocking = append(report.Blocking, *stuck)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return Report{}, err
	}
	report.Blocking, err = still(ctx, api, node, report.Blocking)
	return report, err
}

// try asks whether one pod may go.
func try(ctx context.Context, api API, pod nodeapi.Pod, options Options) (*Stuck, error) {
	err := options.remove(ctx, api, pod, true)
	var status *nodeapi.StatusError
	switch {
	case err == nil:
		return nil, nil
	case !errors.As(err, &status):
		return nil, err
	case status.Code == http.StatusNotFound, status.Code == http.StatusConflict:
		return nil, nil // gone meanwhile
	}
	stuck := explain(pod, err)
	return &stuck, nil
}

// still keeps those of the pods that a second list still has: a pod that is gone
// is forbidden to its node.
func still(ctx context.Context, api API, node string, stuck []Stuck) ([]Stuck, error) {
	if !slices.ContainsFunc(stuck, func(s Stuck) bool { return s.Why == Forbidden }) {
		return stuck, nil
	}
	pods, err := api.Pods(ctx, node)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(stuck, func(s Stuck) bool {
		return !slices.ContainsFunc(pods, func(p nodeapi.Pod) bool { return p.UID == s.Pod.UID })
	}), nil
}
