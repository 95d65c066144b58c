package fleet

import (
	"context"
	"time"
)

// seenTimeout bounds how long an operator's call waits for the fleet.
const seenTimeout = time.Second

func (f *Fleet) moveLocked(revision int64) {
	f.revision = revision
	close(f.moved)
	f.moved = make(chan struct{})
}

// Seen waits until the change of that revision has been pushed, so that an
// operator who has applied something sees its effect. It gives up with the
// context, and soon: the change is committed whether or not it is seen yet.
func (f *Fleet) Seen(ctx context.Context, revision int64) {
	ctx, cancel := context.WithTimeout(ctx, seenTimeout)
	defer cancel()
	for {
		f.mu.RLock()
		seen, moved := f.revision >= revision, f.moved
		f.mu.RUnlock()
		if seen {
			return
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return
		}
	}
}
