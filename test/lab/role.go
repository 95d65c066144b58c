package lab

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// Environment of the lab's own child processes.
const (
	roleVariable = "HYBRID_LAB_ROLE"
	specVariable = "HYBRID_LAB_SPEC"

	roleSite = "site-init"
	roleHost = "host-init"
)

// Main must be the first call of main or TestMain of every program that makes a site: such a program starts itself again as the first
// process of the site and of each edge host. In such a child Main does that work and never returns; otherwise it returns at once.
func Main() {
	var err error
	switch role := os.Getenv(roleVariable); role {
	case "":
		return
	case roleSite:
		err = runSiteInit()
	case roleHost:
		err = runHostInit()
	default:
		err = fmt.Errorf("cannot start lab role %q: no such role", role)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func readSpec(into any) error {
	if err := json.Unmarshal([]byte(os.Getenv(specVariable)), into); err != nil {
		return fmt.Errorf("cannot read the lab role's specification: %w", err)
	}
	return nil
}

// siteVariable names the site in the environment of each of its processes.
const siteVariable = "HYBRID_LAB_SITE"

func roleEnvironment(role, site string, spec any) ([]string, error) {
	data, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the specification of lab role %s: %w", role, err)
	}
	return append(baseEnvironment(), siteVariable+"="+site, roleVariable+"="+role, specVariable+"="+string(data)), nil
}

func baseEnvironment() []string {
	return []string{"PATH=" + searchPath, "HOME=/root", "LANG=C.UTF-8", "TERM=dumb"}
}

// startInitProcess starts an init role with its control pipe (nil for a role that needs none) and its ready pipe, and waits until the role
// reports ready with a JSON value, which is decoded into report (nil: not wanted).
func startInitProcess(cmd *exec.Cmd, control *os.File, logPath string, report any) error {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	readyRead, readyWrite, err := os.Pipe()
	if err != nil {
		return err
	}
	defer readyRead.Close()
	if control == nil {
		if control, err = os.Open(os.DevNull); err != nil {
			return err
		}
		defer control.Close()
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{control, readyWrite}
	err = cmd.Start()
	_ = readyWrite.Close()
	if err != nil {
		return err
	}
	if report == nil {
		report = new(any)
	}
	_ = readyRead.SetReadDeadline(time.Now().Add(initDeadline))
	if err := json.NewDecoder(readyRead).Decode(report); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		said, _ := os.ReadFile(logPath)
		return fmt.Errorf("it did not report ready: %w: %s", err, said)
	}
	return nil
}

// initDeadline is how long an init may take until it is ready; a few milliseconds are usual.
const initDeadline = 20 * time.Second
