package agent

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"hybridagent/agent/config"
	"hybridagent/agent/path"
	"hybridagent/netcfg"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// instruct tells the slow stages what to look at; c.mu is held.
func (c *core) instruct() {
	f := &c.facts
	if !f.assignment.inPool() {
		c.path.Set(path.Plan{})
		c.time.Set(nil)
		c.node.set(nodeInput{pathDown: f.pathDown()})
		return
	}
	msg := f.assignment.msg
	c.path.Set(c.pathPlan(f.probes()))
	c.time.Set(msg.GetTime().GetNtpServers())
	c.node.set(nodeInput{
		inPool:        true,
		rolesAnywhere: msg.GetNode().GetAccess().GetIamRolesAnywhere() != nil,
		generation:    f.assignment.update.GetGeneration(),
		labels:        msg.GetLabels(),
		pathDown:      f.pathDown(),
		forecast:      c.forecastRequest(),
	})
}

func (f *facts) pathDown() bool {
	return pathHealthy(f).status == agentv1.ConditionStatus_CONDITION_STATUS_FALSE
}

// forecastRequest asks what a repave to the assignment would do; nil where none is
// required, and while an operation changes what it would find. c.mu is held.
func (c *core) forecastRequest() *agentv1.ForecastRequest {
	f := &c.facts
	if len(f.repaveFields()) == 0 || f.operation.running {
		return nil
	}
	return forecastFor(agentv1.OperationKind_OPERATION_KIND_REPAVE, f.assignment, c.nodeIPOf())
}

// nodeIPOf is the address that an operation to the assignment would give the node;
// empty: no NIC is selected. c.mu is held.
func (c *core) nodeIPOf() string {
	if ip := c.wantedNodeIP(); ip != "" {
		return ip
	}
	if !c.facts.net.selected {
		return ""
	}
	return c.facts.net.selection.NodeIP.String()
}

// forecastFor asks what an operation to an assignment would do. What is asked without
// a signature has no secrets in it.
func forecastFor(kind agentv1.OperationKind, a *assignment, nodeIP string) *agentv1.ForecastRequest {
	return &agentv1.ForecastRequest{
		Kind: kind, Node: withoutSecrets(a.msg.GetNode()), NodeDigest: a.msg.GetNodeDigest(), NodeIp: nodeIP, Drain: a.update.GetDrain(),
	}
}

// pathPlan is what the path stage is to probe, and what it needs to know of the
// stages before it; c.mu is held.
func (c *core) pathPlan(probes *agentv1.ProbeSpec) path.Plan {
	f := &c.facts
	n, _ := f.inForce()
	plan := path.Plan{
		APIEndpoint: probes.GetApiEndpoint(), Targets: probes.GetTargets(), Interval: probeInterval(probes),
		Access: accessOf(probes.GetEndpointAccess()), VPCCIDRs: n.vpcCIDRs, Internet: []string{c.plane}, Proxy: c.proxy,
		Routes: f.way(), Link: c.linkOf(), Gateway: defaultGateway(c.inv), MTUFixed: c.options.PathMTU == config.PathMTUReport,
		Hurry: f.trial != nil,
	}
	if f.net.selected {
		plan.NIC, plan.Source = f.net.selection.Link.Name, f.net.selection.NodeIP
		plan.Servers, plan.Active = f.net.servers, f.net.vpnServer
		plan.RouteMTU = int(c.routeMTU(f.net.vpnServer, f.net.selection))
	}
	return plan
}

// way is a text that changes with the way to the VPC: destinations, next hop, link
// and source, and not what the routes carry besides.
func (f *facts) way() string {
	var b strings.Builder
	for _, r := range f.routes.Installed {
		if r.Table != netcfg.TableMain {
			continue
		}
		r.MTU, r.AdvMSS, r.Metric = 0, 0, 0
		b.WriteString(r.String() + "\n")
	}
	return b.String()
}

func accessOf(access agentv1.EndpointAccess) path.Access {
	switch access {
	case agentv1.EndpointAccess_ENDPOINT_ACCESS_PRIVATE:
		return path.AccessPrivate
	case agentv1.EndpointAccess_ENDPOINT_ACCESS_PUBLIC:
		return path.AccessPublic
	}
	return path.AccessAny
}

// defaultGateway is that of the default route which wins; invalid where none has
// one.
func defaultGateway(inv netcfg.Inventory) netip.Addr {
	var best netcfg.Route
	for _, r := range inv.Routes {
		if r.IsDefault() && r.Gateway.IsValid() && (!best.Gateway.IsValid() || r.Metric < best.Metric) {
			best = r
		}
	}
	return best.Gateway
}

// linkOf is what the nic stage says of the NIC that is selected, or was meant.
func (c *core) linkOf() path.Link {
	f := &c.facts
	meant, why := netcfg.Candidate{}, ""
	var refused *netcfg.SelectionError
	if errors.As(f.net.selectErr, &refused) {
		meant, why = refused.Meant, refused.Error()
	}
	for _, candidate := range f.net.candidates {
		if candidate.Selected {
			meant, why = candidate, ""
		}
	}
	l := meant.Link
	return path.Link{Name: l.Name, Up: l.Up, Carrier: l.Carrier, Addressed: meant.NodeIP.IsValid(), MTU: l.MTU, Why: why}
}

// proxyAddress is host:port of the proxy that this process is told to use; empty:
// none.
func proxyAddress() string {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy"} {
		u, err := url.Parse(os.Getenv(name))
		if err != nil || u.Hostname() == "" {
			continue
		}
		port := u.Port()
		if port == "" {
			port = map[string]string{"https": "443"}[u.Scheme]
		}
		if port == "" {
			port = "80"
		}
		return u.Hostname() + ":" + port
	}
	return ""
}

// planeAddrs are the addresses of the plane, as far as the configuration has them.
func (c *core) planeAddrs() []netip.Addr {
	host, _, err := net.SplitHostPort(c.plane)
	if err != nil {
		return nil
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return nil
	}
	return []netip.Addr{addr}
}
