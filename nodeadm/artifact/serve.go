package artifact

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Ports that only root may listen on (net.ipv4.ip_unprivileged_port_start): were
// this program killed while nodeadm runs, no other user of the host could take its
// place and give nodeadm programs of his own. IANA has assigned none of these.
const (
	firstPort = 914
	lastPort  = 952
)

// Serve gives the staged files to nodeadm on the loopback, over HTTP, as the only
// files there. manifestURI is for nodeadm's -m. stop ends the server and waits
// until it has ended. The port of the last time is taken again where it is free,
// so that a nodeadm run that outlived this program finds its files.
func Serve(staged Staged) (manifestURI string, stop func(), err error) {
	listener, err := listen(staged.record.Port)
	if err != nil {
		return "", nil, err
	}
	port := listener.Addr().(*net.TCPAddr).Port
	manifestURI, err = staged.announce(port)
	if err != nil {
		return "", nil, errors.Join(err, listener.Close())
	}
	server := &http.Server{Handler: staged.handler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	return manifestURI, func() {
		_ = server.Close()
		<-done
	}, nil
}

// listen takes the port of the last time, one of root's, or, for who is not root,
// any.
func listen(last int) (net.Listener, error) {
	var failed error
	var config net.ListenConfig
	try := func(port int) net.Listener {
		listener, err := config.Listen(context.Background(), "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			failed = err
			return nil
		}
		return listener
	}
	if last > 0 {
		if listener := try(last); listener != nil {
			return listener, nil
		}
	}
	if os.Geteuid() != 0 {
		if listener := try(0); listener != nil {
			return listener, nil
		}
		return nil, fmt.Errorf("cannot serve the artifacts to nodeadm: %w", failed)
	}
	for _, offset := range rand.Perm(lastPort - firstPort + 1) {
		if listener := try(firstPort + offset); listener != nil {
			return listener, nil
		}
	}
	return nil, fmt.Errorf("cannot serve the artifacts to nodeadm on a port from %d to %d: %w; see what listens there with 'ss -ltnp', then try again", firstPort, lastPort, failed)
}

// announce writes the manifest that leads nodeadm to the server.
func (s Staged) announce(port int) (string, error) {
	m, err := decode(s.record.Manifest)
	if err != nil {
		return "", err
	}
	picked, err := m.choose(s.record.Version, s.record.Region, s.record.Provider, s.record.Arch)
	if err != nil {
		return "", err
	}
	content, err := rewrite(s.record.Manifest, picked, s.record.Arch, "http://127.0.0.1:"+strconv.Itoa(port)+"/"+s.record.Version)
	if err != nil {
		return "", err
	}
	path := filepath.Join(s.Dir, "manifest.yaml")
	if err := write(path, content); err != nil {
		return "", err
	}
	s.record.Port = port
	return "file://" + path, s.record.write(s.Dir)
}

// handler answers for the staged files and their checksums, and nothing else.
func (s Staged) handler() http.Handler {
	mux := http.NewServeMux()
	for _, one := range s.record.Files {
		path := "/" + s.record.Version + "/" + one.File
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) { s.serveFile(w, r, one) })
		mux.HandleFunc("GET "+path+".sha256", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintf(w, "%s  %s\n", one.SHA256, one.File)
		})
	}
	return mux
}

func (s Staged) serveFile(w http.ResponseWriter, r *http.Request, one stored) {
	file, err := os.Open(filepath.Join(s.Dir, one.File))
	if err != nil {
		http.Error(w, "the staged file is gone", http.StatusInternalServerError)
		return
	}
	defer func() { _ = file.Close() }()
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, file)
}
