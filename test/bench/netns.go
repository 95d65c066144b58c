package main

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"hybridagent/test/bench/floor"
)

// nicName is the NIC of every subject, on 10.200.0.0/24 with the VPN server.
const nicName = "lan0"

func nodeIP() [4]byte { return [4]byte{10, 200, 0, 11} }

func vpnServer() [4]byte { return [4]byte{10, 200, 0, 2} }

// host is a network namespace with a NIC. A thread of its own stays in it for as
// long as the host lives, so that children started from it can be bound to the
// life of the benchmark (Pdeathsig follows the thread that forked). The kernel
// removes the namespace with its last user: nothing is left to clean up.
type host struct {
	link int // index of the NIC
	work chan func()
	once sync.Once
}

func newHost() (*host, error) {
	h := &host{work: make(chan func())}
	ready := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends in the namespace
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = h.setUp()
		}
		ready <- err
		if err != nil {
			return
		}
		for f := range h.work {
			f()
		}
	}()
	if err := <-ready; err != nil {
		return nil, fmt.Errorf("cannot make a network namespace: %w", err)
	}
	return h, nil
}

// do runs f on the host's thread.
func (h *host) do(f func() error) error {
	done := make(chan error, 1)
	h.work <- func() { done <- f() }
	return <-done
}

func (h *host) close() { h.once.Do(func() { close(h.work) }) }

func (h *host) setUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	la := netlink.NewLinkAttrs()
	la.Name = nicName
	if err := errors.Join(netlink.LinkSetUp(lo), netlink.LinkAdd(&netlink.Veth{LinkAttrs: la, PeerName: "peer0"})); err != nil {
		return err
	}
	peer, err := netlink.LinkByName("peer0")
	if err != nil {
		return err
	}
	nic, err := netlink.LinkByName(nicName)
	if err != nil {
		return err
	}
	h.link = nic.Attrs().Index
	ip := nodeIP()
	subnet := net.IPNet{IP: net.IP(ip[:]), Mask: net.CIDRMask(24, 32)}
	return errors.Join(netlink.LinkSetUp(peer), netlink.LinkSetUp(nic),
		netlink.AddrAdd(nic, &netlink.Addr{IPNet: &subnet}))
}

// open opens a netlink socket in the host with a bound on each read.
func (h *host) open(groups uint32) (s floor.Socket, err error) {
	err = h.do(func() error {
		if s, err = floor.Open(groups); err != nil {
			return err
		}
		return s.SetTimeout(5)
	})
	return s, err
}
