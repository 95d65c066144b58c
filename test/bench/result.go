package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"
)

// Result is one measured figure beside its floor. Lower is better.
type Result struct {
	ID    string  `json:"id"`
	Unit  string  `json:"unit"`
	Value float64 `json:"value"`
	Floor float64 `json:"floor"`
	// Ratio is Value / Floor.
	Ratio float64 `json:"ratio"`
	// Goal is the greatest ratio that counts as met; null where none is set.
	Goal *float64 `json:"goal"`
	// Peers are figures of other programs from the same run, by name.
	Peers map[string]float64 `json:"peers"`
}

// compare makes a Result; a goal of 0 means none.
func compare(id, unit string, value, floor, goal float64, peers map[string]float64) Result {
	r := Result{ID: id, Unit: unit, Value: round(value), Floor: round(floor), Ratio: round(value / floor), Peers: map[string]float64{}}
	for name, v := range peers {
		r.Peers[name] = round(v)
	}
	if goal > 0 {
		r.Goal = &goal
	}
	return r
}

func (r Result) met() string {
	switch {
	case r.Goal == nil:
		return "-"
	case r.Ratio <= *r.Goal:
		return "met"
	}
	return "MISSED"
}

// round keeps three decimals: more would pretend.
func round(v float64) float64 { return math.Round(v*1000) / 1000 }

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// percentile is the nearest-rank percentile, 0 without samples.
func percentile(samples []time.Duration, p int) time.Duration {
	if len(samples) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(samples))
	rank := (len(sorted)*p + 99) / 100
	return sorted[max(rank, 1)-1]
}

// writeJSON writes the results as a list, via a file beside it.
func writeJSON(path string, results []Result) error {
	b, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", append(b, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// figure keeps columns narrow: decimals matter in small figures only.
func figure(v float64) string {
	if v >= 1000 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'f', 1, 64)
}

// writeTable prints the results for people, within 80 columns.
func writeTable(w io.Writer, results []Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tUNIT\tVALUE\tFLOOR\tRATIO\tGOAL\t")
	for _, r := range results {
		goal := "-"
		if r.Goal != nil {
			goal = strconv.FormatFloat(*r.Goal, 'f', -1, 64)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%.2f\t%s\t%s\n", r.ID, r.Unit, figure(r.Value), figure(r.Floor), r.Ratio, goal, r.met())
	}
	return t.Flush()
}
