package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const stateFile = "site.json"

// siteState is what a later program needs to end a kept site. A process number alone does not name a process: its start time belongs to it.
type siteState struct {
	Name  string `json:"name"`
	Pid   int    `json:"pid"`
	Start string `json:"start"`
	// Hosts holds each host's own init as the site numbers it, 0 for hosts that share the site's mounts.
	Hosts map[string]int `json:"hosts"`
}

func (s *Site) writeState() error {
	start, err := startTime(s.init.Process.Pid)
	if err != nil {
		return fmt.Errorf("cannot write the site's state: %w", err)
	}
	state := siteState{Name: s.Name, Pid: s.init.Process.Pid, Start: start, Hosts: make(map[string]int)}
	for _, name := range s.nets {
		state.Hosts[name] = s.inits[name]
	}
	data, err := json.MarshalIndent(state, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(s.Folder, stateFile)
	if err := os.WriteFile(path+".new", append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("cannot write the site's state: %w", err)
	}
	return os.Rename(path+".new", path)
}

// startTime is when the process was started, in clock ticks after boot.
func startTime(pid int) (string, error) {
	fields, err := statFields(pid)
	if err != nil {
		return "", err
	}
	return fields[19], nil
}

func readState(folder string) (siteState, error) {
	var state siteState
	data, err := os.ReadFile(filepath.Join(folder, stateFile))
	if err != nil {
		return state, err
	}
	if err := json.Unmarshal(data, &state); err != nil {
		return state, fmt.Errorf("cannot read %s: %w", filepath.Join(folder, stateFile), err)
	}
	return state, nil
}

func (st siteState) running() bool {
	start, err := startTime(st.Pid)
	if err != nil || start != st.Start {
		return false
	}
	state, err := processState(st.Pid)
	return err == nil && state != 'Z'
}

// Sites are the folders of the sites found in folder, whether they still run or not.
func Sites(folder string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list lab sites: %w", err)
	}
	var sites []string
	for _, entry := range entries {
		if entry.IsDir() && strings.HasPrefix(entry.Name(), folderPrefix) {
			sites = append(sites, filepath.Join(folder, entry.Name()))
		}
	}
	return sites, nil
}

// Down ends the site of that folder, made by another program, and removes what is left of it.
func Down(folder string) error {
	state, err := readState(folder)
	if err == nil && state.running() {
		if err := endKept(state); err != nil {
			return err
		}
	}
	name := strings.TrimPrefix(filepath.Base(folder), folderPrefix)
	return errors.Join(removeSiteCgroups(name), os.RemoveAll(folder))
}

func endKept(state siteState) error {
	for _, signal := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		if err := unix.Kill(state.Pid, signal); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("cannot end site %s: %w", state.Name, err)
		}
		for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); {
			if !state.running() {
				return nil
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	return fmt.Errorf("cannot end site %s: process %d does not end", state.Name, state.Pid)
}

// Open reaches the hosts of a site that was kept by another program: programs can be run in them, the site itself is not owned.
func Open(folder string) (*Site, error) {
	state, err := readState(folder)
	if err != nil {
		return nil, fmt.Errorf("cannot open site: %w", err)
	}
	if !state.running() {
		return nil, fmt.Errorf("cannot open site %s: it does not run any more", state.Name)
	}
	s := &Site{Name: state.Name, Folder: folder, hosts: make(map[string]*Host)}
	for name, pid := range state.Hosts {
		s.addHost(newHost(s, name, state.Pid, pid))
	}
	return s, nil
}
