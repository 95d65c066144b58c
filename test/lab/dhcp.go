package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// OtherLAN is a second subnet on the wire of the site's LAN, outside the remote node CIDRs; its gateway is gw as well.
const OtherLAN = "10.201.0.0/24"

// DHCP is dnsmasq as the LAN's DHCP server, on gw. It answers only the hosts that Lease names.
type DHCP struct {
	// Process is dnsmasq; its log holds a line for each message of the protocol.
	Process *Process

	hosts  string
	mu     sync.Mutex
	leases map[string]netip.Addr
}

// StartDHCP starts the LAN's DHCP server, which knows no host yet.
func (s *Site) StartDHCP(ctx context.Context) (*DHCP, error) {
	gw := s.Host("gw")
	if err := gw.IP(ctx, "address add 10.201.0.1/24 dev lan0"); err != nil {
		return nil, err
	}
	d := &DHCP{hosts: filepath.Join(gw.Folder, "dhcp-hosts"), leases: make(map[string]netip.Addr)}
	if err := os.WriteFile(d.hosts, nil, 0o644); err != nil {
		return nil, fmt.Errorf("cannot configure dnsmasq: %w", err)
	}
	cmd := gw.Command(context.Background(), "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root", "--group=root",
		"--pid-file="+filepath.Join(gw.Folder, "dnsmasq.pid"), "--log-facility=-", "--log-dhcp", "--interface=lan0", "--bind-interfaces",
		"--dhcp-authoritative", "--no-ping", "--dhcp-leasefile="+filepath.Join(gw.Folder, "dhcp-leases"), "--dhcp-hostsfile="+d.hosts,
		"--dhcp-range=10.200.0.0,static,255.255.255.0,2m", "--dhcp-range=10.201.0.0,static,255.255.255.0,2m")
	var err error
	if d.Process, err = gw.Start("dnsmasq", cmd); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return d, d.said(ctx, "static leases only on 10.201.0.0")
}

// Lease makes the server give that address, in the LAN or the OtherLAN, to the host with that MAC from its next message on; a host that asks
// to keep another one is told to begin anew. With the zero address the host gets no answer at all, as if the server were gone.
func (d *DHCP) Lease(ctx context.Context, mac string, address netip.Addr) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.leases[mac] = address
	var hosts strings.Builder
	for mac, address := range d.leases {
		if address.IsValid() {
			fmt.Fprintf(&hosts, "%s,%s\n", mac, address)
		} else {
			fmt.Fprintf(&hosts, "%s,ignore\n", mac)
		}
	}
	if err := os.WriteFile(d.hosts, []byte(hosts.String()), 0o644); err != nil {
		return fmt.Errorf("cannot configure dnsmasq: %w", err)
	}
	read := d.Count("read " + d.hosts)
	if err := d.Process.Signal(unix.SIGHUP); err != nil {
		return fmt.Errorf("cannot make dnsmasq read its hosts: %w", err)
	}
	return Until(ctx, "dnsmasq to read its hosts", 5*time.Millisecond, func(context.Context) error {
		if d.Count("read "+d.hosts) > read {
			return nil
		}
		return errors.New("it has not yet")
	})
}

// Count is how often dnsmasq's log has the text.
func (d *DHCP) Count(text string) int {
	log, err := os.ReadFile(d.Process.Log)
	if err != nil {
		return 0
	}
	return strings.Count(string(log), text)
}

func (d *DHCP) said(ctx context.Context, text string) error {
	err := Until(ctx, "dnsmasq to start", 5*time.Millisecond, func(context.Context) error {
		if err := d.Process.Ended(); err != nil {
			return Final(err)
		}
		if d.Count(text) == 0 {
			return fmt.Errorf("no %q in its log", text)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w; the end of its log:\n%s", err, d.Process.Tail(5))
	}
	return nil
}
