// Command fakekairos is the lab's stand-in for kairos-agent, grub2-editenv, tune2fs and GRUB; the name it is called by chooses the
// role. It refuses to run outside a lab.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"hybridagent/test/fakekairos/command"
	"hybridagent/test/fakenodeadm/lab"
)

func main() {
	role := filepath.Base(os.Args[0])
	if err := lab.Guard(lab.Dir); err != nil {
		fmt.Fprintf(os.Stderr, "%s (stand-in): %v\n", role, err)
		os.Exit(lab.ExitNotALab)
	}
	settings, err := command.Load(filepath.Join(lab.Dir, "fakekairos.json"))
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s (stand-in): %v\n", role, err)
		os.Exit(lab.ExitNotALab)
	}
	h := &command.Host{Root: "/", Settings: settings, Stdout: os.Stdout}
	switch role {
	case "grub2-editenv":
		os.Exit(h.Editenv(os.Args[1:]))
	case "tune2fs":
		os.Exit(h.Tune2fs(os.Args[1:]))
	case "fakekairos-boot":
		if _, err := h.Boot(); err != nil {
			fmt.Fprintf(os.Stderr, "%s (stand-in): %v\n", role, err)
			os.Exit(1)
		}
	default:
		os.Exit(h.Agent(os.Args[1:]))
	}
}
