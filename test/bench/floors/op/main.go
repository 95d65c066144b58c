// Command op is the floor of hybrid-agent-op: it links what that links and does
// nothing of its own. 'op idle' says ready and waits for a signal; 'op read FILE'
// reads a file and ends.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	// Linked for the cost of their package initialisation alone.
	_ "github.com/spf13/cobra"
	_ "go.uber.org/zap"
	_ "google.golang.org/protobuf/proto"
	_ "k8s.io/client-go/tools/clientcmd"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 1 && args[0] == "idle":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
		defer stop()
		fmt.Println("ready")
		<-ctx.Done()
		return nil
	case len(args) == 2 && args[0] == "read":
		_, err := os.ReadFile(args[1])
		return err
	}
	return fmt.Errorf("usage: op idle | op read FILE")
}
