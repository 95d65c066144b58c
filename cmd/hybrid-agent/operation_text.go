package main

import (
	"fmt"
	"io"
	"time"

	"hybridagent/agent/operation"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// writeOperation prints where an operation stands, for people.
func writeOperation(w io.Writer, p *agentv1.OperationProgress, now time.Time) {
	out := sheet{w}
	out.line("Operation", fmt.Sprintf("%s %s", operation.KindName(p.GetKind()), or(p.GetOperationId(), "that this host cannot verify")))
	out.line("State", stateLine(p))
	out.line("Time", timeLine(p, now))
	if path := p.GetForecast().GetPath(); path != "" {
		out.line("Path", append([]string{path}, bullets(p.GetForecast().GetReasons())...)...)
	}
	if !operation.Ended(p.GetState()) {
		out.line("Abort", abortLine(p))
	}
	if p.GetMessage() != "" {
		out.line("Message", p.GetMessage())
	}
	out.line("Log", p.GetLogLines()...)
	if steps := p.GetForecast().GetSteps(); len(steps) > 0 {
		_, _ = fmt.Fprintln(w)
		writeSteps(w, steps, func(i int) string { return stepState(p, i) })
	}
}

func stateLine(p *agentv1.OperationProgress) string {
	text := operation.StateName(p.GetState())
	if p.GetState() == agentv1.OperationState_OPERATION_STATE_SUCCEEDED {
		return text
	}
	if p.GetStep() != "" {
		text += " at " + p.GetStep()
	}
	if !operation.Ended(p.GetState()) {
		text += fmt.Sprintf(", %d %%", p.GetPercent())
	}
	return text
}

func timeLine(p *agentv1.OperationProgress, now time.Time) string {
	text := "not begun"
	if p.GetStartedAt() != nil {
		text = fmt.Sprintf("began %s ago", age(now.Sub(p.GetStartedAt().AsTime())))
	}
	switch end, eta := p.GetEndedAt(), p.GetEstimatedEndAt(); {
	case end != nil && p.GetStartedAt() != nil:
		text = fmt.Sprintf("took %s, ended %s ago", age(end.AsTime().Sub(p.GetStartedAt().AsTime())), age(now.Sub(end.AsTime())))
	case end != nil:
		text = fmt.Sprintf("ended %s ago", age(now.Sub(end.AsTime())))
	case eta != nil:
		text += fmt.Sprintf(", about %s left", age(eta.AsTime().Sub(now)))
	}
	return text
}

func abortLine(p *agentv1.OperationProgress) string {
	if p.GetAbortable() {
		return "possible: \"hybrid-agent operation abort\" takes back what was changed"
	}
	return "not possible any more: it is past the point of return"
}

// stepState is where the ith step of an operation stands.
func stepState(p *agentv1.OperationProgress, i int) string {
	current := -1
	for n, step := range p.GetForecast().GetSteps() {
		if step.GetName() == p.GetStep() {
			current = n
		}
	}
	switch {
	case p.GetState() == agentv1.OperationState_OPERATION_STATE_SUCCEEDED, i < current:
		return "done"
	case i > current:
		return "-"
	default:
		return operation.StateName(p.GetState())
	}
}

// writeSteps prints a table of steps; state may be nil.
func writeSteps(w io.Writer, steps []*agentv1.ForecastStep, state func(int) string) {
	name := len("STEP")
	for _, step := range steps {
		name = max(name, min(len(step.GetName()), 24))
	}
	row := func(step, state, takes, what string) {
		left := fmt.Sprintf("%-*s  %-9s  %5s  ", name, cut(step, name), state, takes)
		for _, line := range wrap(or(what, "-"), width-len([]rune(left))) {
			_, _ = fmt.Fprintln(w, left+line)
			left = fmt.Sprintf("%*s", len([]rune(left)), "")
		}
	}
	row("STEP", "STATE", "TAKES", "WHAT")
	for i, step := range steps {
		takes := "?"
		if step.GetDuration() != nil {
			takes = age(step.GetDuration().AsDuration())
		}
		row(step.GetName(), state(i), takes, step.GetWhat())
	}
}

func bullets(texts []string) []string {
	lines := make([]string, 0, len(texts))
	for _, text := range texts {
		lines = append(lines, "- "+text)
	}
	return lines
}
