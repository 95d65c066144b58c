// Command demo runs the main job of hybrid-agent on one machine: from two bare edge hosts to two Ready nodes, in a lab site of network
// namespaces, and says for each step whether it held. It owns the story and its checks; the hosts are test/lab's, the programs on them
// test/lab/actors'.
//
// AWS, nodeadm and kubelet are stand-ins; the kernel, chronyd, etcd, gRPC and all of the product are real.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"golang.org/x/sys/unix"

	"hybridagent/test/lab"
)

const usage = `usage: demo               run the main job (KEEP=1 leaves the site up, DEMO_BREAK=` + breakNames + ` breaks one thing)
       demo down          remove every site that was left up
       demo exec HOST COMMAND [ARGUMENT...]
                          run a command on a host of the site that was left up
`

// Exit codes.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

func main() {
	lab.Main()
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	// A second signal ends the program at once; the site's init cleans up all the same.
	context.AfterFunc(ctx, stop)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string) int {
	if os.Geteuid() != 0 && (len(args) == 0 || args[0] != forgeCommand) {
		fmt.Fprintln(os.Stderr, "demo: cannot run as an ordinary user:", becomeRoot(ctx, args))
		return exitFailed
	}
	command := ""
	if len(args) > 0 {
		command = args[0]
	}
	var err error
	switch {
	case command == "" && len(args) == 0:
		return runDemo(ctx)
	case command == "down" && len(args) == 1:
		err = down()
	case command == "exec" && len(args) >= 3:
		return runIn(ctx, args[1], args[2:])
	case command == forgeCommand && len(args) == 4:
		err = forge(ctx, args[1], args[2], args[3])
	default:
		fmt.Fprint(os.Stderr, usage)
		return exitUsage
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		return exitFailed
	}
	return 0
}

func runDemo(ctx context.Context) int {
	sabotage, err := parseBreak(os.Getenv("DEMO_BREAK"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		return exitUsage
	}
	repository, err := repository()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		return exitFailed
	}
	d := newDemo(os.Stdout, repository, sabotage)
	keep := os.Getenv("KEEP") != "" && os.Getenv("KEEP") != "0"
	held, err := d.play(ctx, keep)
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "demo: interrupted; the site was removed")
		return exitInterrupted
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo:", err)
		return exitFailed
	case !held:
		return exitFailed
	}
	return 0
}

// repository is the folder two above the one that holds this program: it is built as build/lab/demo.
func repository() (string, error) {
	program, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("cannot find the demo's own program: %w", err)
	}
	folder := filepath.Dir(filepath.Dir(filepath.Dir(program)))
	if _, err := os.Stat(filepath.Join(folder, "go.mod")); err != nil {
		return "", fmt.Errorf("cannot find the repository of %s: build the demo as build/lab/demo (make demo): %w", program, err)
	}
	return folder, nil
}

// sitesVariable names another folder for sites, so that a test's are not taken for anybody else's.
const sitesVariable = "DEMO_SITES"

func sitesFolder(repository string) string {
	if folder := os.Getenv(sitesVariable); folder != "" {
		return folder
	}
	return filepath.Join(repository, "build/lab/sites")
}

// down removes every site of this repository.
func down() error {
	repository, err := repository()
	if err != nil {
		return err
	}
	sites, err := lab.Sites(sitesFolder(repository))
	if err != nil {
		return err
	}
	if len(sites) == 0 {
		fmt.Println("no site is up")
	}
	var errs []error
	for _, site := range sites {
		err := lab.Down(site)
		if err == nil {
			fmt.Println("removed", filepath.Base(site))
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
