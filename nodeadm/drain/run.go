package drain

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"hybridagent/nodeadm/nodeapi"
)

// How often the pods are listed: soon after something changed, then less and
// less, so that a long wait for a budget is no load.
const (
	listSoon = 250 * time.Millisecond
	listLate = 2 * time.Second
)

// lastLook bounds the list that is made when the time is over.
const lastLook = 2 * time.Second

// drainer is one drain under way.
type drainer struct {
	api     API
	node    string
	options Options
	say     func(string)
	begun   time.Time
	// seen holds the pods that were to go since the begin, by UID.
	seen map[string]*attempt
	// listed says that the pods could be listed once; trouble is why the last list
	// failed.
	listed  bool
	trouble error
	said    string
}

// Run removes the pods of the node and waits until they are gone. Where the
// options do not allow that, it changes nothing. say gets a line whenever there is
// something to tell; it is not called concurrently.
//
// Errors: *Blocked, with the pods that stay and the next actions; the context's
// when the caller gave up; what keeps the pods from being listed.
func Run(ctx context.Context, api API, node string, options Options, say func(string)) error {
	d := &drainer{api: api, node: node, options: options, say: say, begun: time.Now(), seen: map[string]*attempt{}}
	if d.say == nil {
		d.say = func(string) {}
	}
	bounded, cancel := ctx, context.CancelFunc(func() {})
	if options.Timeout > 0 {
		bounded, cancel = context.WithTimeout(ctx, options.Timeout)
	}
	defer cancel()
	left, err := d.loop(bounded)
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("the drain of Node %s was given up with %d pods left: %w", node, len(left), context.Cause(ctx))
	case bounded.Err() == nil:
		return err
	case !d.listed:
		return fmt.Errorf("cannot drain Node %s within %v: %w", node, time.Since(d.begun).Round(time.Second), err)
	}
	return d.lastLook(ctx, left, err)
}

// lastLook is at the end of the time: what the last list still had may be gone.
func (d *drainer) lastLook(ctx context.Context, left []nodeapi.Pod, err error) error {
	ctx, cancel := context.WithTimeout(ctx, lastLook)
	defer cancel()
	if pods, failed := d.api.Pods(ctx, d.node); failed == nil {
		s := sortPods(pods, d.options, time.Now())
		if left = s.left(); len(left)+len(s.refused) == 0 {
			d.finish(s)
			return nil
		}
		for _, stuck := range s.refused {
			left = append(left, stuck.Pod)
		}
		d.note(left)
	}
	return d.blocked(left, err)
}

// loop returns the pods that were left when it was last able to list them.
func (d *drainer) loop(ctx context.Context) (left []nodeapi.Pod, err error) {
	for pause := listSoon; ; pause = min(pause*3/2, listLate) {
		pods, err := d.api.Pods(ctx, d.node)
		switch {
		case ctx.Err() != nil:
			return left, errors.Join(d.trouble, ctx.Err())
		case err != nil && !passing(err):
			return left, fmt.Errorf("cannot drain: %w", err)
		case err != nil:
			d.trouble = err
			d.tell("cannot list the pods, trying again: " + err.Error())
		default:
			before := len(left)
			if left, err = d.round(ctx, sortPods(pods, d.options, time.Now())); err != nil || len(left) == 0 {
				return left, err
			}
			if len(left) != before {
				pause = listSoon
			}
			if len(left) < before {
				d.hope()
			}
		}
		if !sleep(ctx, jitter(pause)) {
			return left, errors.Join(d.trouble, ctx.Err())
		}
	}
}

// round acts on one list and returns the pods that are left of it.
func (d *drainer) round(ctx context.Context, s sorted) ([]nodeapi.Pod, error) {
	left := s.left()
	if len(s.refused) > 0 {
		return left, &Blocked{Node: d.node, Begun: d.listed, After: time.Since(d.begun), Total: len(left) + len(s.refused), Pods: s.refused}
	}
	d.note(left)
	d.listed, d.trouble = true, nil
	if len(left) == 0 {
		d.finish(s)
		return nil, nil
	}
	if err := d.removeDue(ctx, s); err != nil {
		return left, err
	}
	d.progress(left)
	return left, nil
}

// note remembers pods that were not there before.
func (d *drainer) note(left []nodeapi.Pod) {
	for _, pod := range left {
		if d.seen[pod.UID] == nil {
			d.seen[pod.UID] = &attempt{late: d.listed}
		}
	}
}

// passing tells a failed list that another attempt may mend.
func passing(err error) bool {
	var status *nodeapi.StatusError
	if errors.As(err, &status) {
		return status.Code == http.StatusTooManyRequests || status.Code >= 500
	}
	return errors.Is(err, nodeapi.ErrUnreachable)
}
