package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// File descriptors that the parent hands to an init.
const (
	controlFD = 3
	readyFD   = 4
)

// keepByte on the control pipe says that the site shall outlive its maker.
const keepByte = 'K'

// siteSpec is what the first process of a site needs to know.
type siteSpec struct {
	Name   string   `json:"name"`
	Folder string   `json:"folder"`
	Nets   []string `json:"nets"`
	// Hosts are the hosts with files and processes of their own.
	Hosts []hostSpec `json:"hosts"`
}

// runSiteInit is the first process of a site: it makes the network namespaces, collects orphans, and ends the site when the control pipe
// closes or a signal asks for it.
func runSiteInit() error {
	var spec siteSpec
	if err := readSpec(&spec); err != nil {
		return err
	}
	control := os.NewFile(controlFD, "control")
	ready := os.NewFile(readyFD, "ready")
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, unix.SIGTERM, unix.SIGINT)
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)

	closed := make(chan struct{})
	go watchControl(control, closed)

	if err := prepareSite(spec); err != nil {
		return errors.Join(err, endSite(spec))
	}
	inits, err := startHostInits(spec)
	if err == nil {
		err = errors.Join(json.NewEncoder(ready).Encode(inits), ready.Close())
	}
	if err != nil {
		return errors.Join(err, endSite(spec))
	}
	for {
		select {
		case <-children:
			reapOrphans()
		case <-stop:
			return endSite(spec)
		case <-closed:
			return endSite(spec)
		}
	}
}

// startHostInits starts the first process of each host that has its own and returns their process numbers inside the site. They are the
// site init's own children, so that nothing but the end of the site or of themselves ends them.
func startHostInits(spec siteSpec) (map[string]int, error) {
	inits := make(map[string]int)
	for _, host := range spec.Hosts {
		env, err := roleEnvironment(roleHost, spec.Name, host)
		if err != nil {
			return nil, err
		}
		cmd := exec.CommandContext(context.Background(), "/proc/self/exe") // lives as long as the site
		cmd.Args[0] = "hybrid-lab-" + host.Hostname
		cmd.Env, cmd.Dir = env, "/"
		cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWUTS, Setsid: true}
		err = spaces{net: filepath.Join(netnsFolder, host.Hostname)}.do(func() error {
			return startInitProcess(cmd, nil, filepath.Join(spec.Folder, host.Hostname, "init.log"), nil)
		})
		if err != nil {
			return nil, fmt.Errorf("cannot start host %s: %w", host.Hostname, err)
		}
		inits[host.Hostname] = cmd.Process.Pid
	}
	return inits, nil
}

// watchControl closes closed when the site's maker is gone, unless it asked to keep the site.
func watchControl(control *os.File, closed chan<- struct{}) {
	keep := false
	buf := make([]byte, 1)
	for {
		n, err := control.Read(buf)
		if n == 1 && buf[0] == keepByte {
			keep = true
		}
		if err != nil {
			break
		}
	}
	if !keep {
		close(closed)
	}
}

// prepareSite makes the private mounts and the named network namespaces; all of it is visible to the site's processes only.
func prepareSite(spec siteSpec) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("cannot detach the site's mounts from the machine's: %w", err)
	}
	if err := mountAt("proc", "/proc", "proc", 0, ""); err != nil {
		return err
	}
	if err := mountAt("tmpfs", "/run", "tmpfs", 0, "mode=0755"); err != nil {
		return err
	}
	if err := writeMarker("/run", spec.Name); err != nil {
		return err
	}
	memory := filepath.Join(spec.Folder, "mem")
	if err := os.MkdirAll(memory, 0o755); err != nil {
		return err
	}
	if err := mountAt("tmpfs", memory, "tmpfs", 0, "mode=0755"); err != nil {
		return err
	}
	if err := os.MkdirAll(netnsFolder, 0o755); err != nil {
		return err
	}
	for _, name := range spec.Nets {
		if err := makeNetNS(filepath.Join(netnsFolder, name)); err != nil {
			return fmt.Errorf("cannot make the network namespace of %s: %w", name, err)
		}
	}
	return nil
}

const netnsFolder = "/run/netns"

// makeNetNS makes a network namespace that lives as long as the file (a mount of the site) that names it.
func makeNetNS(path string) error {
	if err := os.WriteFile(path, nil, 0o444); err != nil {
		return err
	}
	return onThreadOfItsOwn(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		own := fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())
		return unix.Mount(own, path, "", unix.MS_BIND, "")
	})
}

// writeMarker leaves the file by which the stand-ins know that they run in a lab.
func writeMarker(run, site string) error {
	folder := filepath.Join(run, "hybrid-lab")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "marker"), []byte(site+"\n"), 0o644)
}

func mountAt(source, target, kind string, flags uintptr, data string) error {
	if err := unix.Mount(source, target, kind, flags, data); err != nil {
		return fmt.Errorf("cannot mount %s at %s: %w", kind, target, err)
	}
	return nil
}

// reapOrphans collects every child that has ended. The init starts no program itself, so no one else waits for them.
func reapOrphans() {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
	}
}

// endSite kills every process of the site, then removes what the kernel does not remove by itself: control groups and the folder.
func endSite(spec siteSpec) error {
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		if err := unix.Kill(-1, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("cannot kill the site's processes: %w", err)
		}
		reapOrphans()
		if !othersAlive() {
			break
		}
		time.Sleep(2 * time.Millisecond)
	}
	// The tmpfs may still be in use by a mount namespace that is just going away: detaching is enough.
	_ = unix.Unmount(filepath.Join(spec.Folder, "mem"), unix.MNT_DETACH)
	return errors.Join(removeSiteCgroups(spec.Name), os.RemoveAll(spec.Folder))
}

// othersAlive says whether any other process of the namespace still runs. Dead ones that their parent has not collected do not count.
func othersAlive() bool {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return false
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		state, err := processState(pid)
		if err == nil && state != 'Z' && state != 'X' {
			return true
		}
	}
	return false
}

// processState is the state letter of /proc/PID/stat.
func processState(pid int) (byte, error) {
	fields, err := statFields(pid)
	if err != nil {
		return 0, err
	}
	return fields[0][0], nil
}

// statFields are the fields of /proc/PID/stat from the third on (the state), after the name, which may hold spaces.
func statFields(pid int) ([]string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	_, rest, ok := strings.Cut(string(data[strings.LastIndexByte(string(data), ')'):]), " ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 {
		return nil, fmt.Errorf("cannot read /proc/%d/stat: too few fields", pid)
	}
	return fields, nil
}
