package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"hybridagent/agent/operation/journal"
	"hybridagent/test/bench/floor"
)

const (
	journalTrials = 2000
	// journalLength is how many records a journal gets before the next one is begun:
	// no operation has as many.
	journalLength = 500
	// recordSize is about that of an intent on disk, in bytes.
	recordSize = 112
)

// opJournal measures putting one record of an operation on disk.
func opJournal(ctx context.Context, e *env) ([]Result, error) {
	dir, err := os.MkdirTemp(e.dir, "journal-")
	if err != nil {
		return nil, err
	}
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		return nil, err
	}
	store, err := journal.Open(filepath.Join(dir, "operations"))
	if err != nil {
		return nil, err
	}
	var ours, low []time.Duration
	var j *journal.Journal
	line := make([]byte, recordSize)
	for n := range e.trials(journalTrials) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if n%journalLength == 0 {
			id := fmt.Sprintf("%026d", n)
			if j, err = store.Create(id, []byte("signed"), journal.Operation{Kind: 1, SHA256: "s"}, time.Now()); err != nil {
				return nil, err
			}
		}
		ways := []func() error{
			func() error {
				return timed(&ours, func() error {
					return j.Append(journal.Record{Kind: journal.Intent, Step: "nodeadm-upgrade", Attempt: 1, At: time.Now()})
				})
			},
			func() error { return timed(&low, func() error { return floor.AppendDurably(dir, plain, line) }) },
		}
		for i := range ways {
			if err := ways[(n+i)%len(ways)](); err != nil {
				return nil, err
			}
		}
	}
	peers := map[string]float64{"ours_p50": millis(percentile(ours, 50)), "floor_p50": millis(percentile(low, 50))}
	return []Result{compare("op.journal_write.p99", "ms", millis(percentile(ours, 99)), millis(percentile(low, 99)), 1.5, peers)}, nil
}

// timed does something and notes how long it took.
func timed(took *[]time.Duration, do func() error) error {
	begin := time.Now()
	err := do()
	*took = append(*took, time.Since(begin))
	return err
}
