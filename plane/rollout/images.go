package rollout

import (
	"context"
	"fmt"
	"sync"
	"time"

	"hybridagent/plane/fleet"
)

const (
	// imageFresh is how long the digest of a tag is used: tags may be moved.
	imageFresh = time.Minute
	// imageRetry is how long a registry that did not answer is left alone.
	imageRetry = 15 * time.Second
)

// imageWaitError says that an operation waits for the digest of an image.
type imageWaitError struct {
	image string
	err   error // of the last attempt; nil: it is the first
}

func (e *imageWaitError) Error() string {
	if e.err == nil {
		return "it waits for the digest of image " + e.image
	}
	return fmt.Sprintf("%v (tried again every %s)", e.err, imageRetry)
}

func (e *imageWaitError) Unwrap() error { return e.err }

// images asks registries for digests, beside the controller: a registry may take as
// long as it likes.
type images struct {
	resolve func(ctx context.Context, image string) (string, error)
	now     func() time.Time
	changed func(hostID string)

	ctx  context.Context // ends with the controller
	stop context.CancelFunc

	mu    sync.Mutex
	known map[string]*imageState
	tasks sync.WaitGroup
}

func newImages(resolve func(context.Context, string) (string, error), now func() time.Time, changed func(string)) *images {
	i := &images{resolve: resolve, now: now, changed: changed, known: map[string]*imageState{}}
	i.ctx, i.stop = context.WithCancel(context.Background())
	return i
}

// close ends what is asked, and waits for it.
func (i *images) close() {
	i.stop()
	i.tasks.Wait()
}

type imageState struct {
	digest  string
	err     error
	at      time.Time
	asking  bool
	rests   bool            // after a failure, for imageRetry
	waiting map[string]bool // hosts to be looked at
}

// digest answers what is known of an image; else it is asked for, and the host
// looked at once that is known.
func (i *images) digest(image, hostID string) (string, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	s := i.known[image]
	if s == nil {
		s = &imageState{waiting: map[string]bool{}}
		i.known[image] = s
	}
	if s.digest != "" && i.now().Sub(s.at) < imageFresh {
		return s.digest, nil
	}
	s.waiting[hostID] = true
	if !s.asking && !s.rests && i.ctx.Err() == nil {
		s.asking = true
		i.tasks.Go(func() { i.ask(image) })
	}
	return "", &imageWaitError{image: image, err: s.err}
}

func (i *images) ask(image string) {
	digest, err := i.resolve(i.ctx, image)
	i.mu.Lock()
	s := i.known[image]
	s.digest, s.err, s.at, s.asking, s.rests = digest, err, i.now(), false, err != nil
	i.mu.Unlock()
	if err != nil {
		// The hosts show why; they are looked at once more when it is tried again.
		i.wake(s, false)
		time.AfterFunc(imageRetry, func() { i.wake(s, true) })
		return
	}
	i.wake(s, true)
}

// wake has the hosts looked at that wait for an image; at the end of a rest it is
// asked for again.
func (i *images) wake(s *imageState, rested bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if rested {
		s.rests = false
	}
	for id := range s.waiting {
		i.changed(id)
	}
	if rested {
		clear(s.waiting)
	}
}

// problem says why the digest of an image is not known; it answers something also
// where it is, since an operation is about to be signed then.
func (i *images) problem(image string) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	if s := i.known[image]; s != nil && s.digest == "" {
		return (&imageWaitError{image: image, err: s.err}).Error()
	}
	return "its operation is about to be signed"
}

// imageDigest is the digest of the image that a host is to have; empty in agent
// mode. An imageWaitError says that it is not known yet.
func (c *Controller) imageDigest(v fleet.View) (string, error) {
	image := v.Assignment.GetNode().GetOsImage().GetUri()
	if image == "" {
		return "", nil
	}
	return c.images.digest(image, v.HostID)
}
