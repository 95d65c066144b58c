package fleet

import (
	"context"
	"sync"
)

// workset is a queue that holds each name once, however often it is added.
type workset struct {
	mu    sync.Mutex
	in    map[string]bool
	order []string
	wake  chan struct{}
}

func newWorkset() *workset {
	return &workset{in: map[string]bool{}, wake: make(chan struct{}, 1)}
}

func (w *workset) add(name string) {
	w.mu.Lock()
	if !w.in[name] {
		w.in[name] = true
		w.order = append(w.order, name)
	}
	w.mu.Unlock()
	w.signal()
}

func (w *workset) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// take removes and answers up to n names.
func (w *workset) take(n int) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	n = min(n, len(w.order))
	out := append([]string(nil), w.order[:n]...)
	w.order = w.order[n:]
	if len(w.order) == 0 {
		w.order = nil
	} else {
		w.signal()
	}
	for _, name := range out {
		delete(w.in, name)
	}
	return out
}

// next waits for a name; false: the context has ended.
func (w *workset) next(ctx context.Context) (string, bool) {
	for {
		if ctx.Err() != nil {
			return "", false
		}
		if names := w.take(1); len(names) == 1 {
			return names[0], true
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
			return "", false
		}
	}
}
