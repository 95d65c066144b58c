package lab

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Options say what a new site is made of.
type Options struct {
	// Folder is where the site's own folder is made (logs, state); the system's temporary folder when empty.
	Folder string
	// Edges is the number of edge hosts with namespaces of their own, edge-1 and so on; at most 200.
	Edges int
	// SystemdEdges is the number of edge hosts, after the others, that only get their network: a systemd host is booted in each by Boot.
	SystemdEdges int
	// Files are bound read-only into every edge host: path inside the host to path on the machine.
	Files map[string]string
	// Users are added to every edge host's /etc/passwd and /etc/group.
	Users []User
}

// User is a system user of an edge host, or only a group where NoUser is set.
type User struct {
	Name   string
	ID     int
	NoUser bool
	// Groups are further groups that the user is a member of.
	Groups []string
}

// Site is a running site. Close ends it.
type Site struct {
	// Name is unique on the machine.
	Name string
	// Folder holds a folder per host with its logs; it is removed with the site.
	Folder string

	hosts   map[string]*Host
	order   []string
	control *os.File
	init    *exec.Cmd
	inits   map[string]int
	nets    []string
	ended   chan struct{}
}

// New makes a site: hosts, networks, packet counter. It does not start a program of the product. A failed New leaves nothing behind.
func New(ctx context.Context, opts Options) (*Site, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("cannot make a lab site: network namespaces need root; run it as root (sudo)")
	}
	if opts.Edges < 0 || opts.SystemdEdges < 0 || opts.Edges+opts.SystemdEdges > 200 {
		return nil, fmt.Errorf("cannot make a lab site: %d edge hosts; at most 200 are possible", opts.Edges+opts.SystemdEdges)
	}
	s, err := newSiteFolder(opts.Folder)
	if err != nil {
		return nil, err
	}
	top := newTopology(opts.Edges + opts.SystemdEdges)
	s.nets = top.netNames()
	for _, name := range s.nets {
		if err := os.Mkdir(filepath.Join(s.Folder, name), 0o755); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	if err := s.startInit(ctx, siteSpec{Name: s.Name, Folder: s.Folder, Nets: s.nets, Hosts: s.hostSpecs(opts)}); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	for _, name := range s.nets {
		s.addHost(newHost(s, name, s.init.Process.Pid, s.inits[name]))
	}
	if err := top.apply(ctx, s); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func newSiteFolder(parent string) (*Site, error) {
	if parent == "" {
		parent = os.TempDir()
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return nil, fmt.Errorf("cannot make a lab site: %w", err)
	}
	namePrefix, err := siteNamePrefix(parent)
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp(parent, folderPrefix+namePrefix)
	if err != nil {
		return nil, fmt.Errorf("cannot make a lab site: %w", err)
	}
	if err := os.Chmod(folder, 0o755); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	return &Site{
		Name:   filepath.Base(folder)[len(folderPrefix):],
		Folder: folder,
		hosts:  make(map[string]*Host),
		ended:  make(chan struct{}),
	}, nil
}

const folderPrefix = "hybrid-lab-"

// siteNamePrefix begins the names of all sites in a folder, so that whatever carries a site's name can be traced to it.
func siteNamePrefix(parent string) (string, error) {
	path, err := filepath.Abs(parent)
	if err != nil {
		return "", fmt.Errorf("cannot make a lab site: %w", err)
	}
	return fmt.Sprintf("%x-", sha256.Sum256([]byte(path)))[58:], nil
}

// startInit starts the site's first process and waits until its namespaces stand.
func (s *Site) startInit(ctx context.Context, spec siteSpec) error {
	env, err := roleEnvironment(roleSite, s.Name, spec)
	if err != nil {
		return err
	}
	controlRead, controlWrite, err := os.Pipe()
	if err != nil {
		return err
	}
	defer controlRead.Close()
	s.control = controlWrite
	cmd := exec.CommandContext(context.Background(), "/proc/self/exe") // lives as long as the site
	cmd.Args[0] = "hybrid-lab-site"
	cmd.Env = env
	cmd.Dir = "/"
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS, Setsid: true}
	stop := context.AfterFunc(ctx, func() { _ = controlWrite.Close() }) // ends the init
	defer stop()
	if err := startInitProcess(cmd, controlRead, filepath.Join(s.Folder, "site-init.log"), &s.inits); err != nil {
		return fmt.Errorf("cannot start the site's init: %w", err)
	}
	s.init = cmd
	go func() {
		_ = cmd.Wait()
		close(s.ended)
	}()
	return s.writeState()
}

func (s *Site) addHost(h *Host) {
	s.hosts[h.Name] = h
	s.order = append(s.order, h.Name)
}

// Host is the host of that name; it panics for a name that the site does not have, which is a mistake in the calling program.
func (s *Site) Host(name string) *Host {
	h, ok := s.hosts[name]
	if !ok {
		panic(fmt.Sprintf("lab: site has no host %q", name))
	}
	return h
}

// Hosts are the names of all hosts in the order in which they were made.
func (s *Site) Hosts() []string { return append([]string(nil), s.order...) }

// Keep lets the site outlive the calling program; Down removes it later. After Keep, Close must not be called.
func (s *Site) Keep() error {
	if _, err := s.control.Write([]byte{keepByte}); err != nil {
		return fmt.Errorf("cannot keep the site: %w", err)
	}
	return s.control.Close()
}

// Close ends the site: every process, every namespace, every mount, the folder. It may be called again.
func (s *Site) Close() error {
	if s.control != nil {
		_ = s.control.Close()
	}
	if s.init == nil {
		return os.RemoveAll(s.Folder)
	}
	select {
	case <-s.ended:
	case <-time.After(20 * time.Second):
		_ = s.init.Process.Kill()
		<-s.ended
	}
	// The init has removed both already, unless it was killed itself.
	return errors.Join(removeSiteCgroups(s.Name), os.RemoveAll(s.Folder))
}

// Lookup finds a host by its name.
func (s *Site) Lookup(name string) (*Host, bool) {
	h, ok := s.hosts[name]
	return h, ok
}
