package lab

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// Leftovers lists what the sites made in folder have left on the machine or still hold: processes and their namespaces, mounts of this
// program's own namespace, control groups, and the sites' own folders. An empty list means: nothing. Sites in other folders do not count.
func Leftovers(folder string) ([]string, error) {
	prefix, err := siteNamePrefix(folder)
	if err != nil {
		return nil, err
	}
	var found []string
	processes, err := labProcesses(prefix)
	if err != nil {
		return nil, err
	}
	found = append(found, processes...)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, folderPrefix+prefix) {
			found = append(found, "mount: "+strings.TrimSpace(line))
		}
	}
	for _, root := range cgroupRoots() {
		groups, err := filepath.Glob(filepath.Join(root, cgroupPrefix+prefix+"*"))
		if err != nil {
			return nil, err
		}
		for _, group := range groups {
			found = append(found, "control group: "+group)
		}
	}
	sites, err := Sites(folder)
	if err != nil {
		return nil, err
	}
	for _, site := range sites {
		found = append(found, "folder: "+site)
	}
	sort.Strings(found)
	return found, nil
}

// labProcesses finds every process with the environment of a site of that prefix. A namespace without a name lives only as long as a process is in it, so no
// such process means no such namespace.
func labProcesses(prefix string) ([]string, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []string
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil || !bytes.Contains(env, []byte(siteVariable+"="+prefix)) {
			continue
		}
		if state, err := processState(pid); err != nil || state == 'Z' {
			continue
		}
		name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		found = append(found, fmt.Sprintf("process %d: %s", pid, bytes.ReplaceAll(bytes.TrimRight(name, "\x00"), []byte{0}, []byte{' '})))
	}
	return found, nil
}
