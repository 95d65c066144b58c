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
		return judgeDeadline(command, exit)
	case exit.Signal != "":
		return &Failure{Message: fmt.Sprintf("nodeadm %s was ended by signal %s%s; if nobody ended it, look for the kernel's out-of-memory messages (journalctl -k), then try again",
			command, exit.Signal, lastWords(exit.Lines))}
	case exit.Code == 2:
		return judgeUsage(command, exit, before, tracker)
	case exit.Code != 0:
		return judgeFailed(command, exit)
	}
	return judgeSilent(command, before, after, tracker)
}

// judgeDeadline names what nodeadm is known to wait for without end.
func judgeDeadline(command Command, exit Exit) error {
	action := "look for what it waited for in its last lines, then try again"
	if len(exit.Lines) > 0 {
		last := exit.Lines[len(exit.Lines)-1].Message
		for _, wait := range []struct{ text, action string }{
			{"Daemon is not in the desired state yet", "the daemon it waited for does not start: see 'systemctl status containerd kubelet' and 'journalctl -u containerd -u kubelet', then try again"},
			{"Waiting for containerd", "containerd does not start: see 'systemctl status containerd', correct the containerd configuration in the HybridProfile or the host's image, then try again"},
			{"Waiting for kubelet", "kubelet does not start: see 'journalctl -u kubelet', correct the kubelet configuration in the HybridProfile, then try again"},
			{"SSM agent", "the SSM agent does not start or register: check that the host reaches the SSM endpoints, then try again"},
		} {
			if strings.Contains(last, wait.text) {
				action = wait.action
				break
			}
		}
	}
	return &Failure{Message: fmt.Sprintf("nodeadm %s did not end within %s and was killed with all its children%s; %s",
		command, exit.Deadline, lastWords(exit.Lines), action)}
}

// judgeUsage reads exit code 2: a usage error, or a panic.
func judgeUsage(command Command, exit Exit, before Evidence, tracker error) error {
	for _, line := range exit.Lines {
		if strings.HasPrefix(line.Message, "panic:") {
			return &Failure{Message: fmt.Sprintf("nodeadm %s crashed (%s); %s", command, line.Text(), crashAction(before, tracker))}
		}
	}
	return &Failure{Permanent: true, Message: fmt.Sprintf(
		"nodeadm %s did not understand its arguments%s; install the nodeadm version that this agent was made for (v1.0.20)",
		command, lastWords(exit.Lines))}
}

// crashAction names which damaged file nodeadm crashed on.
func crashAction(before Evidence, tracker error) string {
	var broken *BrokenTrackerError
	switch {
	case errors.As(tracker, &broken):
		return "its tracker " + TrackerPath + " is damaged: delete the tracker and repave the host, which installs nodeadm's parts anew"
	case strings.HasPrefix(before[kubeletConfigPath], emptyFile):
		return "kubelet's configuration " + kubeletConfigPath + " is an empty file: repave the host, which runs nodeadm init first and writes it anew"
	}
	return "its tracker " + TrackerPath + " or its files may be damaged: delete the tracker, then try again"
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
	switch command {
	case ConfigCheck:
		return nil
	case Uninstall:
		return judgeUninstalled(before, after, tracker)
	case Install, Init, Upgrade:
	}
	if errors.Is(tracker, ErrNoTracker) {
		return &Failure{Message: fmt.Sprintf(
			"nodeadm %s exited 0 having done nothing: there is no tracker at %s afterwards; check that nodeadm is the real binary, then try again",
			command, TrackerPath)}
	}
	if tracker != nil {
		return &Failure{Message: fmt.Sprintf("nodeadm %s exited 0 but left a tracker of no use: %v; delete it, then try again", command, tracker)}
	}
	if path, ok := command.untouched(before, after); ok {
		return &Failure{Message: fmt.Sprintf(
			"nodeadm %s exited 0 having done nothing: it did not write %s; check that nodeadm is the real binary, then try again", command, path)}
	}
	return nil
}

// judgeUninstalled looks for what uninstall should have removed. A run that found
// nothing to remove has done its work.
func judgeUninstalled(before, after Evidence, tracker error) error {
	path, left := Uninstall.left(after)
	switch {
	case !left && errors.Is(tracker, ErrNoTracker):
		return nil
	case before[TrackerPath] == "":
		return &Failure{Permanent: true, Message: fmt.Sprintf(
			"nodeadm uninstall exited 0 having done nothing, since there was no tracker at %s, and %s is still there; let the host leave again, which restores the tracker from the record",
			TrackerPath, path)}
	}
	return &Failure{Message: fmt.Sprintf("nodeadm uninstall exited 0 but left %s; check that nodeadm is the real binary, then try again", path)}
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
