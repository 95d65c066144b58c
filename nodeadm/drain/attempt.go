package drain

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"hybridagent/nodeadm/nodeapi"
)

// How long a pod whose removal was refused is left alone. A PodDisruptionBudget
// says not when it opens (429 without Retry-After).
const (
	retrySoon = 500 * time.Millisecond
	retryLate = 5 * time.Second
	retryMost = 15 * time.Second
)

// forbiddenAfter is how often a pod's removal must be forbidden, with the pod
// still listed, to be taken for true: a pod that is gone is forbidden as well.
const forbiddenAfter = 3

// attempt is what was tried with one pod.
type attempt struct {
	tries, forbidden int
	next             time.Time
	err              error
	// late says that it was not here when the drain began.
	late bool
}

// removeDue asks those pods to go that it is time for.
func (d *drainer) removeDue(ctx context.Context, s sorted) error {
	if err := d.forbidden(s); err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(parallel)
	now := time.Now()
	for _, pod := range slices.Concat(s.going, s.finished) {
		tried := d.seen[pod.UID]
		if now.Before(tried.next) {
			continue
		}
		group.Go(func() error {
			tried.record(d.options.remove(ctx, d.api, pod, false))
			return nil
		})
	}
	return group.Wait()
}

// forbidden is a *Blocked of the pods that are listed still, although their
// removal was forbidden time and again, or nil.
func (d *drainer) forbidden(s sorted) error {
	var forbidden []Stuck
	for _, pod := range slices.Concat(s.going, s.finished) {
		if tried := d.seen[pod.UID]; tried.forbidden >= forbiddenAfter {
			forbidden = append(forbidden, explain(pod, tried.err))
		}
	}
	if len(forbidden) == 0 {
		return nil
	}
	return &Blocked{Node: d.node, Begun: true, After: time.Since(d.begun), Total: len(d.seen), Pods: forbidden}
}

// record keeps the outcome of one request; whether the pod is gone, the next list
// tells.
func (a *attempt) record(err error) {
	a.err = err
	pause := retryLate
	if shift := a.tries; shift < 4 {
		pause = min(retrySoon<<shift, retryLate)
	}
	a.tries++
	var status *nodeapi.StatusError
	if errors.As(err, &status) {
		pause = max(pause, min(status.RetryAfter, retryMost))
		if status.Code == http.StatusForbidden && !inEndingNamespace(status) {
			a.forbidden++
		}
	}
	a.next = time.Now().Add(jitter(pause))
}

// hope lets refused pods be tried soon: where one has ended, its budget may open
// once its successor is ready.
func (d *drainer) hope() {
	soon := time.Now().Add(retrySoon)
	for _, tried := range d.seen {
		tried.tries = 0
		if tried.next.After(soon) {
			tried.next = soon
		}
	}
}
