// Package kubelet is the stand-in's kubelet: it reads the files and flags that nodeadm leaves, registers the Node, and sends
// heartbeats from the node's own address, so that the API can tell whether they came through the tunnel. It runs no pods and
// talks to no container runtime.
package kubelet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"hybridagent/test/fakenodeadm/lab"
)

// Where nodeadm puts the binary and its credentials.
const (
	BinPath        = "/usr/bin/kubelet"
	KubeconfigPath = "/var/lib/kubelet/kubeconfig"
	CAPath         = "/etc/kubernetes/pki/ca.crt"
)

const (
	healthz        = "127.0.0.1:10248"
	requestTimeout = 3 * time.Second
)

// Kubelet is one running stand-in.
type Kubelet struct {
	flags    Flags
	settings lab.Kubelet
	version  string
	maxPods  int
	env      []string
	out      io.Writer
	client   *Client // heartbeats
	register *Client // registration: always from the node IP
	ip       net.IP
}

// Run is `kubelet …`: it ends only with an error, when ctx ends, or when the lab's settings say so.
func Run(ctx context.Context, args []string, settings lab.Kubelet, env []string, out io.Writer) error {
	if len(args) > 0 && args[0] == "--version" {
		version, err := ownVersion()
		if err == nil {
			fmt.Fprintf(out, "Kubernetes %s\n", version)
		}
		return err
	}
	k := &Kubelet{settings: settings, env: env, out: out}
	var err error
	if k.flags, err = ParseFlags(args); err != nil {
		return err
	}
	if k.version, err = ownVersion(); err != nil {
		return err
	}
	k.settings = settings.ForVersion(k.version)
	if err := k.readConfig(); err != nil {
		return err
	}
	if err := k.connect(); err != nil {
		return err
	}
	k.say("kubelet (stand-in) %s: node %s, node IP %s, heartbeats every %s", k.version, k.flags.NodeName, k.ip, k.interval())
	ctx, cancel := context.WithCancelCause(ctx)
	if s := k.settings.ExitAfterSeconds; s > 0 {
		time.AfterFunc(time.Duration(s*float64(time.Second)), func() { cancel(errors.New("the lab asked this kubelet to exit")) })
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(nil)
	wg.Go(func() { k.serveHealthz(ctx) })
	return k.loop(ctx, &wg)
}

func (k *Kubelet) say(format string, args ...any) { fmt.Fprintf(k.out, format+"\n", args...) }

func (k *Kubelet) interval() time.Duration {
	if ms := k.settings.HeartbeatIntervalMS; ms > 0 {
		return time.Duration(ms) * time.Millisecond
	}
	return time.Second
}

// readConfig refuses a broken configuration, as kubelet does, and takes maxPods from it or from its drop-ins.
func (k *Kubelet) readConfig() error {
	k.maxPods = 110
	paths := []string{k.flags.Config}
	if k.flags.ConfigDir != "" {
		dropIns, err := filepath.Glob(filepath.Join(k.flags.ConfigDir, "*.conf"))
		if err != nil {
			return err
		}
		paths = append(paths, dropIns...)
	}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("failed to load kubelet config file: %w", err)
		}
		var cfg struct {
			Kind    string `json:"kind"`
			MaxPods int    `json:"maxPods"`
		}
		if err := json.Unmarshal(raw, &cfg); err != nil {
			return fmt.Errorf("failed to load kubelet config file %s: %w", path, err)
		}
		if cfg.Kind != "KubeletConfiguration" {
			return fmt.Errorf("failed to load kubelet config file %s: kind %q is no KubeletConfiguration", path, cfg.Kind)
		}
		if cfg.MaxPods > 0 {
			k.maxPods = cfg.MaxPods
		}
	}
	return nil
}

// connect finds the node's address and binds the connections to it.
func (k *Kubelet) connect() error {
	k.ip = k.flags.NodeIP
	if k.ip == nil || k.settings.IgnoreNodeIP {
		var err error
		if k.ip, err = lab.DefaultIP(); err != nil {
			return fmt.Errorf("cannot find the node's address: %w", err)
		}
	}
	from := k.ip
	if k.settings.HeartbeatFrom != "" {
		if from = net.ParseIP(k.settings.HeartbeatFrom); from == nil {
			return fmt.Errorf("cannot send heartbeats from %q: not an IP address", k.settings.HeartbeatFrom)
		}
	}
	agent := "kubelet/" + k.version + " stand-in"
	for _, c := range []struct {
		client **Client
		from   net.IP
	}{{&k.register, k.ip}, {&k.client, from}} {
		client, err := NewClient("", k.flags.Kubeconfig, k.env, agent)
		if err != nil {
			return err
		}
		client.BindTo(c.from, requestTimeout)
		*c.client = client
	}
	return nil
}

// loop registers the Node, then renews lease and status until ctx ends. Failures are logged and tried again.
func (k *Kubelet) loop(ctx context.Context, wg *sync.WaitGroup) error {
	tick := time.NewTicker(k.interval())
	defer tick.Stop()
	registered, failing := false, ""
	for {
		var err error
		if !registered {
			if err = k.registerNode(ctx); err == nil {
				registered = true
				k.say("node %s registered", k.flags.NodeName)
				if !k.settings.NoServingCSR {
					wg.Go(func() { k.requestServingCertificate(ctx) })
				}
			}
		}
		if registered {
			err = k.heartbeat(ctx)
		}
		if text := fmt.Sprint(err); err != nil && text != failing {
			k.say("cannot reach the Kubernetes API: %v", err)
			failing = text
		} else if err == nil && failing != "" {
			k.say("heartbeats arrive again")
			failing = ""
		}
		if err != nil {
			k.client.Forget()
			k.register.Forget()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
				return cause
			}
			return nil
		}
	}
}

// serveHealthz answers the loopback probe; a taken port is tried again.
func (k *Kubelet) serveHealthz(ctx context.Context) {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
	srv := &http.Server{Addr: healthz, Handler: mux, ReadHeaderTimeout: requestTimeout}
	context.AfterFunc(ctx, func() { srv.Close() })
	for ctx.Err() == nil {
		if err := srv.ListenAndServe(); errors.Is(err, http.ErrServerClosed) {
			return
		} else if err != nil {
			k.say("cannot serve healthz on %s: %v", healthz, err)
		}
		select {
		case <-time.After(5 * time.Second):
		case <-ctx.Done():
		}
	}
}

// ownVersion reads the version that was appended to this executable when the artifact was made.
func ownVersion() (string, error) {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return "", err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return "", err
	}
	tail := make([]byte, min(size, 64))
	if _, err := f.ReadAt(tail, size-int64(len(tail))); err != nil {
		return "", err
	}
	at := strings.LastIndex(string(tail), lab.VersionTrailer)
	if at < 0 {
		return "v0.0.0-standin", nil
	}
	return "v" + strings.TrimSpace(string(tail[at+len(lab.VersionTrailer):])), nil
}
