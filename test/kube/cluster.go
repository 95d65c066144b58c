package kube

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Options say which control plane is run.
type Options struct {
	// Dir is where it keeps everything; it must exist and be the cluster's alone.
	Dir string
	// OldRights gives nodes the rights of Kubernetes up to 1.31: they may read every
	// pod and every Node, and a pod that is gone is not found instead of forbidden.
	OldRights bool
	// Address that the API server listens at and that its certificate names; nil:
	// 127.0.0.1.
	Address net.IP
	// Controllers starts the controller manager and the scheduler as well.
	Controllers bool
}

// Cluster is a control plane that runs.
type Cluster struct {
	// Server is the API server's address, https://….
	Server string

	options    Options
	components Components
	pki        *authority
	processes  []*process
}

// readyWithin bounds the start of one program; on an idle machine the API server
// takes three seconds.
const readyWithin = 90 * time.Second

// Start runs a control plane until Stop, or until this program dies.
func Start(ctx context.Context, components Components, options Options) (*Cluster, error) {
	if options.Address == nil {
		options.Address = net.IPv4(127, 0, 0, 1)
	}
	c := &Cluster{options: options, components: components}
	for _, step := range []func(context.Context) error{c.certificates, c.startEtcd, c.startAPIServer, c.startControllers} {
		if err := step(ctx); err != nil {
			c.Stop()
			return nil, fmt.Errorf("cannot start a control plane: %w", err)
		}
	}
	return c, nil
}

// Stop ends the programs, the last one first.
func (c *Cluster) Stop() {
	for i := len(c.processes) - 1; i >= 0; i-- {
		c.processes[i].stop()
	}
	c.processes = nil
}

func (c *Cluster) path(name string) string { return filepath.Join(c.options.Dir, name) }

// certificates makes all that the programs and an administrator need.
func (c *Cluster) certificates(context.Context) (err error) {
	if c.pki, err = newAuthority(c.options.Dir); err != nil {
		return err
	}
	for _, make := range []func() error{
		func() error { return c.pki.server("apiserver", c.options.Address) },
		func() error { return c.pki.client("service-accounts", "service-accounts") }, // only its key is used
		func() error { return c.pki.client("admin", "admin", "system:masters") },
		func() error { return c.pki.client("kubelet-client", "kube-apiserver", "system:masters") },
	} {
		if err := make(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) run(name string, args ...string) (*process, error) {
	p, err := start(c.options.Dir, name, c.components.Path(name), args...)
	if err == nil {
		c.processes = append(c.processes, p)
	}
	return p, err
}

func (c *Cluster) startEtcd(ctx context.Context) error {
	client, err := freePort(c.options.Address)
	if err != nil {
		return err
	}
	peer, err := freePort(c.options.Address)
	if err != nil {
		return err
	}
	c.Server = "http://" + client // until the API server has its own
	p, err := c.run(Etcd, "--name=kube", "--data-dir="+c.path("etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls=http://"+client, "--advertise-client-urls=http://"+client,
		"--listen-peer-urls=http://"+peer, "--initial-advertise-peer-urls=http://"+peer, "--initial-cluster=kube=http://"+peer)
	if err != nil {
		return err
	}
	return p.await(ctx, "listening", readyWithin, func(ctx context.Context) error { return dial(ctx, client) })
}

func (c *Cluster) startAPIServer(ctx context.Context) error {
	address, err := freePort(c.options.Address)
	if err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(address)
	etcd := c.Server
	c.Server = "https://" + address
	args := []string{
		"--etcd-servers=" + etcd, "--bind-address=" + c.options.Address.String(), "--advertise-address=" + c.options.Address.String(),
		"--secure-port=" + port, "--endpoint-reconciler-type=none", "--allow-privileged", "--anonymous-auth=false",
		"--service-cluster-ip-range=172.20.0.0/16", "--cert-dir=" + c.path("apiserver"),
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--disable-admission-plugins=ServiceAccount",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-signing-key-file=" + c.pki.file("service-accounts", "key"),
		"--service-account-key-file=" + c.pki.file("service-accounts", "crt"),
		"--client-ca-file=" + c.pki.file("ca", "crt"), "--tls-cert-file=" + c.pki.file("apiserver", "crt"), "--tls-private-key-file=" + c.pki.file("apiserver", "key"),
		"--kubelet-client-certificate=" + c.pki.file("kubelet-client", "crt"), "--kubelet-client-key=" + c.pki.file("kubelet-client", "key"),
	}
	if c.options.OldRights {
		args = append(args, "--emulated-version=1.33", "--feature-gates=AuthorizeNodeWithSelectors=false")
	}
	p, err := c.run(APIServer, args...)
	if err != nil {
		return err
	}
	admin, err := c.Admin()
	if err != nil {
		return err
	}
	return p.await(ctx, "ready", readyWithin, func(ctx context.Context) error {
		// Ready comes before the namespace that tests use.
		if _, err := admin.Get(ctx, "/readyz"); err != nil {
			return err
		}
		_, err := admin.Get(ctx, "/api/v1/namespaces/default")
		return err
	})
}

// startControllers runs what makes pods of Deployments and binds them to nodes.
func (c *Cluster) startControllers(ctx context.Context) error {
	if !c.options.Controllers {
		return nil
	}
	for program, args := range map[string][]string{
		ControllerManager: {
			"--cluster-signing-cert-file=" + c.pki.file("ca", "crt"), "--cluster-signing-key-file=" + c.pki.file("ca", "key"),
			"--node-monitor-grace-period=20s",
		},
		Scheduler: nil,
	} {
		if err := c.pki.client(program, "system:"+program, "system:masters"); err != nil {
			return err
		}
		kubeconfig, err := c.writeKubeconfig(program, c.certificateUser(program))
		if err != nil {
			return err
		}
		args = append(args, "--kubeconfig="+kubeconfig, "--authentication-kubeconfig="+kubeconfig, "--authorization-kubeconfig="+kubeconfig,
			"--leader-elect=false", "--secure-port=0")
		if _, err := c.run(program, args...); err != nil {
			return err
		}
	}
	return c.publish(ctx)
}

// publish says where the API server is, which it leaves to us: nodeadm asks for it.
func (c *Cluster) publish(ctx context.Context) error {
	admin, err := c.Admin()
	if err != nil {
		return err
	}
	_, err = admin.Create(ctx, "/api/v1/namespaces/default/endpoints", map[string]any{
		"apiVersion": "v1", "kind": "Endpoints", "metadata": map[string]any{"name": "kubernetes"},
		"subsets": []any{map[string]any{"addresses": []any{map[string]any{"ip": c.options.Address.String()}}, "ports": []any{map[string]any{"name": "https", "port": 443}}}},
	})
	return err
}

// freePort finds an address that nothing listens at now.
func freePort(address net.IP) (string, error) {
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: address})
	if err != nil {
		return "", fmt.Errorf("cannot find a free port: %w", err)
	}
	defer func() { _ = listener.Close() }()
	return net.JoinHostPort(address.String(), strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)), nil
}

func dial(ctx context.Context, address string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err == nil {
		_ = conn.Close()
	}
	return err
}

// NodeKubeconfig writes a kubeconfig as nodeadm does: the node's credentials come
// from a program that it names.
func (c *Cluster) NodeKubeconfig(node string) (string, error) {
	name := "node-" + node
	if err := c.pki.client(name, "system:node:"+node, "system:nodes"); err != nil {
		return "", err
	}
	program := c.CredentialsFile(node)
	if err := os.WriteFile(program, c.credentialsProgram(name), 0o755); err != nil {
		return "", err
	}
	return c.writeKubeconfig(name, fmt.Sprintf("exec: {apiVersion: client.authentication.k8s.io/v1, command: %q, interactiveMode: Never}", program))
}

// CredentialsFile is the program that a node's kubeconfig names.
func (c *Cluster) CredentialsFile(node string) string { return c.path("node-" + node + "-credentials") }
