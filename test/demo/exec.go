package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"hybridagent/test/lab"
)

// runIn runs a command on a host of the kept site and returns its exit code.
func runIn(ctx context.Context, host string, command []string) int {
	code, err := execIn(ctx, host, command)
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
	}
	return code
}

func execIn(ctx context.Context, name string, command []string) (int, error) {
	site, err := keptSite()
	if err != nil {
		return exitFailed, err
	}
	host, ok := site.Lookup(name)
	if !ok {
		return exitUsage, fmt.Errorf("no host %q; the site has %s", name, strings.Join(site.Hosts(), " "))
	}
	cmd := host.Command(ctx, command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return exitFailed, err
	}
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode(), nil
}

// keptSite opens the one site that is up.
func keptSite() (*lab.Site, error) {
	repository, err := repository()
	if err != nil {
		return nil, err
	}
	folders, err := lab.Sites(sitesFolder(repository))
	if err != nil {
		return nil, err
	}
	var up []*lab.Site
	for _, folder := range folders {
		if site, err := lab.Open(folder); err == nil {
			up = append(up, site)
		}
	}
	switch len(up) {
	case 0:
		return nil, errors.New("no site is up; start one with make demo KEEP=1")
	case 1:
		return up[0], nil
	}
	return nil, fmt.Errorf("cannot choose among the %d sites that are up; remove them with make demo-down and start one", len(up))
}
