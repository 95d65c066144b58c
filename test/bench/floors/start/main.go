// Command start is the floor of exec → route in the kernel: it links what the
// agent links, installs one route and ends. Arguments: destination, gateway,
// source, link index.
package main

import (
	"fmt"
	"net"
	"os"
	"strconv"

	"github.com/vishvananda/netlink"

	// Linked for the cost of their package initialisation alone.
	_ "github.com/prometheus/client_golang/prometheus/promhttp"
	_ "go.uber.org/zap"
	_ "google.golang.org/grpc"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 4 {
		return fmt.Errorf("usage: start DESTINATION GATEWAY SOURCE LINKINDEX")
	}
	_, dst, err := net.ParseCIDR(args[0])
	if err != nil {
		return err
	}
	link, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	return netlink.RouteAdd(&netlink.Route{
		Dst: dst, Gw: net.ParseIP(args[1]), Src: net.ParseIP(args[2]), LinkIndex: link,
	})
}
