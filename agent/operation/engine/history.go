package engine

import (
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"hybridagent/agent/operation/journal"
)

// maxHistory bounds how many steps' durations are remembered.
const maxHistory = 64

// history is what steps took on this host before. It serves forecasts alone: what
// of it is lost or damaged is measured anew.
type history struct {
	log   *zap.Logger
	store *journal.Store

	mutex sync.Mutex
	took  map[string]time.Duration
	fresh bool
}

func openHistory(log *zap.Logger, store *journal.Store) *history {
	took, err := store.Durations()
	if err != nil {
		log.Warn("what steps took before is not known", zap.Error(err))
	}
	if took == nil {
		took = map[string]time.Duration{}
	}
	return &history{log: log, store: store, took: took}
}

// note remembers what a step took; what it took before counts for half.
func (h *history) note(step string, took time.Duration) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if before, known := h.took[step]; known {
		took = (before + took) / 2
	}
	h.took[step], h.fresh = took, true
	for len(h.took) > maxHistory {
		delete(h.took, slices.Min(slices.Collect(maps.Keys(h.took))))
	}
}

// expected is what a step takes, as far as known.
func (h *history) expected(step Step) time.Duration {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if took, known := h.took[step.Name]; known {
		return took
	}
	return step.Expected
}

// save puts it on disk, if there is anything new.
func (h *history) save() {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if !h.fresh {
		return
	}
	h.fresh = false
	if err := h.store.SetDurations(h.took); err != nil {
		h.log.Warn("cannot keep what steps took", zap.Error(err))
	}
}
