package runner

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// process is what /proc/PID/stat tells (proc_pid_stat(5)).
type process struct {
	pid, parent, group, session int
	state                       byte
}

// listProcesses reads all processes; those that vanish meanwhile are left out.
func listProcesses() []process {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var all []process
	for _, entry := range entries {
		if _, err := strconv.Atoi(entry.Name()); err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "stat"))
		if err != nil {
			continue
		}
		if process, ok := parseStat(string(stat)); ok {
			all = append(all, process)
		}
	}
	return all
}

// parseStat reads a line of /proc/PID/stat. The program's name stands in
// parentheses and may hold anything, a parenthesis too.
func parseStat(stat string) (process, bool) {
	open, end := strings.IndexByte(stat, '('), strings.LastIndexByte(stat, ')')
	if open < 1 || end < open {
		return process{}, false
	}
	fields := strings.Fields(stat[end+1:])
	if len(fields) < 4 || len(fields[0]) != 1 {
		return process{}, false
	}
	var numbers [4]int
	for i, text := range []string{strings.TrimSpace(stat[:open]), fields[1], fields[2], fields[3]} {
		n, err := strconv.Atoi(text)
		if err != nil {
			return process{}, false
		}
		numbers[i] = n
	}
	return process{pid: numbers[0], parent: numbers[1], group: numbers[2], session: numbers[3], state: fields[0][0]}, true
}

// runProcesses finds the live processes of a run: those marked in their
// environment, and everything below them or in their sessions.
func runProcesses(id string) ([]int, error) {
	all := listProcesses()
	if len(all) == 0 {
		return nil, fmt.Errorf("/proc shows no process; is it mounted?")
	}
	mark := []byte(runVariable + "=" + id)
	found, sessions := map[int]bool{}, map[int]bool{}
	for _, process := range all {
		if marked(process.pid, mark) {
			found[process.pid] = true
			// A session of our own terminal is not the run's: the leader must be
			// a marked process.
			if process.session == process.pid {
				sessions[process.session] = true
			}
		}
	}
	for grown := true; grown; {
		grown = false
		for _, process := range all {
			if !found[process.pid] && (found[process.parent] || sessions[process.session]) {
				found[process.pid] = true
				grown = true
			}
		}
	}
	var live []int
	for _, process := range all {
		if found[process.pid] && process.state != 'Z' && process.pid != os.Getpid() {
			live = append(live, process.pid)
		}
	}
	slices.Sort(live)
	return live, nil
}

// marked reports whether a process has this variable in its environment. The
// environment of a process that we may not read is not of a run.
func marked(pid int, mark []byte) bool {
	environ, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
	if err != nil {
		return false
	}
	return slices.ContainsFunc(bytes.Split(environ, []byte{0}), func(variable []byte) bool { return bytes.Equal(variable, mark) })
}
