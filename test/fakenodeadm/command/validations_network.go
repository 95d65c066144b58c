package command

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"time"
)

// dial tries until ten seconds of lab time are over.
func (i *initRun) dial(ctx context.Context, rawURL string) error {
	u, err := url.Parse(rawURL)
	if err != nil {
		return err
	}
	addr := u.Host
	if u.Port() == "" {
		addr = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80"}[u.Scheme]+map[string]string{"https": "443"}[u.Scheme])
	}
	limit := i.Settings.Scale(10 * time.Second)
	end := time.Now().Add(limit)
	for {
		d := net.Dialer{Timeout: limit}
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err == nil {
			return conn.Close()
		}
		if !time.Now().Before(end) {
			return fmt.Errorf("context deadline exceeded while retrying: dialing %s: %w", addr, err)
		}
		if !i.sleep(ctx, time.Second) {
			return ctx.Err()
		}
	}
}

// providerReachable dials the API that hands out the node's credentials.
func (i *initRun) providerReachable(ctx context.Context) error {
	if i.cfg.providerName() == providerSSM {
		return i.dial(ctx, i.aws.endpoint("SSM"))
	}
	return i.dial(ctx, i.aws.endpoint("RolesAnywhere"))
}

func (i *initRun) apiReachable(ctx context.Context) error {
	return i.dial(ctx, i.cfg.Spec.Cluster.APIServerEndpoint)
}

// nodeIP finds the address as the real program does: one word --node-ip=X, else the name, else the default route's interface.
func (i *initRun) nodeIP() (net.IP, error) {
	if text := flagValue(i.cfg.Spec.Kubelet.Flags, "node-ip"); text != "" {
		ip := net.ParseIP(text)
		switch {
		case ip == nil:
			return nil, fmt.Errorf("invalid ip %s in --node-ip flag. only 1 IPv4 address is allowed", text)
		case ip.To4() == nil:
			return nil, fmt.Errorf("invalid IPv6 address %s in --node-ip flag. only IPv4 is supported", text)
		}
		return ip, nil
	}
	if ips, err := i.LookupIP(i.cfg.nodeName); err == nil {
		for _, ip := range ips {
			if ip.To4() != nil && ip.IsGlobalUnicast() {
				return ip, nil
			}
		}
	}
	return i.DefaultIP()
}

func (i *initRun) nodeIPInRemoteNetworks(context.Context) error {
	ip, err := i.nodeIP()
	if err != nil {
		return err
	}
	for _, cidr := range i.remote {
		if _, n, err := net.ParseCIDR(cidr); err == nil && n.Contains(ip) {
			return mtuUsable(ip)
		}
	}
	return fmt.Errorf("node IP %s is not in any of the remote network CIDR blocks: %s. See %s or use --skip node-ip-validation", ip, i.remote, troubleshooting)
}

// mtuUsable wants an MTU of 68-1500 or 8000-9001 on the interface with the address; an address that the host does not own passes.
func mtuUsable(ip net.IP) error {
	ifaces, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, iface := range ifaces {
		addrs, err := iface.Addrs()
		if err != nil {
			return err
		}
		for _, a := range addrs {
			n, ok := a.(*net.IPNet)
			if !ok || !n.IP.Equal(ip) || iface.MTU >= 68 && iface.MTU <= 1500 || iface.MTU >= 8000 && iface.MTU <= 9001 {
				continue
			}
			return fmt.Errorf("invalid MTU %d on interface %s: it must be 68-1500 or 8000-9001", iface.MTU, iface.Name)
		}
	}
	return nil
}
