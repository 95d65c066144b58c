// Command fakebootc is the lab's stand-in for bootc, ostree admin undeploy, greenboot and the boot; the name it is called by
// chooses the role. It refuses to run outside a lab.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"hybridagent/test/fakebootc/command"
	"hybridagent/test/fakenodeadm/lab"
)

func main() {
	role := filepath.Base(os.Args[0])
	if err := lab.Guard(lab.Dir); err != nil {
		fmt.Fprintf(os.Stderr, "%s (stand-in): %v\n", role, err)
		os.Exit(lab.ExitNotALab)
	}
	settings, err := command.Load(filepath.Join(lab.Dir, "fakebootc.json"))
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s (stand-in): %v\n", role, err)
		os.Exit(lab.ExitNotALab)
	}
	h := &command.Host{Root: "/", Settings: settings, Stdout: os.Stdout}
	switch role {
	case "ostree":
		os.Exit(h.Ostree(os.Args[1:]))
	case "fakebootc-shutdown":
		err = h.Shutdown()
	case "fakebootc-boot":
		err = h.Boot()
	default:
		os.Exit(h.Bootc(os.Args[1:]))
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s (stand-in): %v\n", role, err)
		os.Exit(1)
	}
}
