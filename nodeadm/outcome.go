package nodeadm

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Exit is how a run of nodeadm ended.
type Exit struct {
	// Code is the exit code; -1 when a signal ended it.
	Code int
	// Signal names the signal that ended it, or is empty.
	Signal string
	// Deadline is set when it was killed because it took this long.
	Deadline time.Duration
	// Lines are its last lines, oldest first.
	Lines []Line
}

// Failure is a run of nodeadm that did not do what it was for.
type Failure struct {
	// Message says what failed, why, and what to do next.
	Message string
	// Permanent is set where the same run would fail again: the input must change.
	Permanent bool
}

// Error returns the message.
func (f *Failure) Error() string { return f.Message }

// Judge says whether a run did its work; the error is a *Failure. before and
// after are the evidence of the files that the command writes; tracker is what
// ReadTracker said after the run.
func Judge(command Command, exit Exit, before, after Evidence, tracker error) error {
	switch {
	case exit.Deadline > 0:
		return &Failure{Message: fmt.Sprintf(
			"nodeadm %s did not end within %s and was killed with all its children%s; look for what it waited for in its last lines, then provision again",
			command, exit.Deadline, lastWords(exit.Lines))}
	case exit.Signal != "":
		return &Failure{Message: fmt.Sprintf("nodeadm %s was ended by signal %s%s", command, exit.Signal, lastWords(exit.Lines))}
	case exit.Code == 2:
		return judgeUsage(command, exit)
	case exit.Code != 0:
		return judgeFailed(command, exit)
	}
	return judgeSilent(command, before, after, tracker)
}

// judgeUsage reads exit code 2: a usage error, or a panic.
func judgeUsage(command Command, exit Exit) error {
	for _, line := range exit.Lines {
		if strings.HasPrefix(line.Message, "panic:") {
			return &Failure{Message: fmt.Sprintf(
				"nodeadm %s crashed (%s); its tracker %s or its files may be damaged: delete the tracker, then provision again",
				command, line.Text(), TrackerPath)}
		}
	}
	return &Failure{Permanent: true, Message: fmt.Sprintf(
		"nodeadm %s did not understand its arguments%s; install the nodeadm version that this agent was made for (v1.0.20)",
		command, lastWords(exit.Lines))}
}

// judgeFailed reads every other exit code by what nodeadm said last.
func judgeFailed(command Command, exit Exit) error {
	reason := failureText(exit.Lines)
	for _, known := range knownFailures() {
		if known.form.MatchString(reason) {
			return &Failure{
				Message:   fmt.Sprintf("nodeadm %s failed: %s; %s", command, bound(reason), known.action),
				Permanent: known.permanent,
			}
		}
	}
	if reason == "" {
		reason = "it said nothing"
	}
	message := fmt.Sprintf("nodeadm %s failed with exit code %d: %s", command, exit.Code, bound(reason))
	if advice := remediation(exit.Lines); advice != "" {
		message += "; nodeadm advises: " + bound(advice)
	}
	return &Failure{Message: message}
}

// judgeSilent finds runs that exit 0 having done nothing.
func judgeSilent(command Command, before, after Evidence, tracker error) error {
	if command == ConfigCheck {
		return nil
	}
	if errors.Is(tracker, ErrNoTracker) {
		return &Failure{Message: fmt.Sprintf(
			"nodeadm %s exited 0 having done nothing: there is no tracker at %s afterwards; check that nodeadm is the real binary, then provision again",
			command, TrackerPath)}
	}
	if tracker != nil {
		return &Failure{Message: fmt.Sprintf("nodeadm %s exited 0 but left a tracker of no use: %v; delete it, then provision again", command, tracker)}
	}
	if path, ok := command.untouched(before, after); ok {
		return &Failure{Message: fmt.Sprintf(
			"nodeadm %s exited 0 having done nothing: it did not write %s; check that nodeadm is the real binary, then provision again", command, path)}
	}
	return nil
}

// failureText is the error of the last line that tells of a failure, or the
// last plain line.
func failureText(lines []Line) string {
	for i := len(lines) - 1; i >= 0; i-- {
		if lines[i].bad() {
			if lines[i].Error != "" {
				return lines[i].Error
			}
			return lines[i].Message
		}
	}
	for i := len(lines) - 1; i >= 0; i-- {
		if lines[i].Message != "" {
			return lines[i].Message
		}
	}
	return ""
}

func remediation(lines []Line) string {
	for i := len(lines) - 1; i >= 0; i-- {
		if lines[i].Remediation != "" && lines[i].bad() {
			return lines[i].Remediation
		}
	}
	return ""
}

// lastWords quotes the last line, for a message.
func lastWords(lines []Line) string {
	if text := failureText(lines); text != "" {
		return " (last line: " + bound(text) + ")"
	}
	return ""
}
