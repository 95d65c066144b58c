package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hybridagent/test/bench/floor"
)

// birdFolder is where Debian's bird2 is unpacked, once.
const birdFolder = "build/bird"

// bulkBird is bird, told to read another configuration.
type bulkBird struct {
	host    *host
	child   *child
	n       int
	dir     string
	monitor floor.Socket
}

func startBulkBird(ctx context.Context, e *env, n int) (bulkSubject, error) {
	program, err := bird(ctx)
	if err != nil {
		return nil, err
	}
	h, err := newHost()
	if err != nil {
		return nil, err
	}
	s := &bulkBird{host: h, n: n, dir: filepath.Join(e.dir, fmt.Sprintf("bird-%d", n))}
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		return nil, err
	}
	for step := range bulkSteps {
		if err := s.configure(step); err != nil {
			return nil, err
		}
	}
	if s.monitor, err = h.open(floor.RouteEvents); err != nil {
		return nil, err
	}
	// 10,000 events wait here while bird keeps the CPUs busy.
	_ = unix.SetsockoptInt(int(s.monitor), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20)
	libraries, _ := filepath.Glob(filepath.Join(birdFolder, "usr/lib/*-linux-gnu*"))
	s.child, err = h.start(ctx, "/usr/bin/env", "LD_LIBRARY_PATH="+strings.Join(libraries, ":"),
		program, "-f", "-c", s.file(bulkClear), "-s", s.socket())
	if err != nil {
		return nil, err
	}
	return s, s.awaitSocket(ctx)
}

// bird returns the program's path; it is fetched where it is not there yet.
func bird(ctx context.Context) (string, error) {
	program, err := filepath.Abs(filepath.Join(birdFolder, "usr/sbin/bird"))
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	out, err := exec.CommandContext(ctx, "scripts/fetch-bird.sh", birdFolder).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("cannot fetch bird, a peer to measure against: %w\n%s", err, out)
	}
	return program, nil
}

func (s *bulkBird) file(step bulkStep) string {
	return filepath.Join(s.dir, fmt.Sprintf("%d.conf", step))
}

func (s *bulkBird) socket() string { return filepath.Join(s.dir, "ctl") }

func (s *bulkBird) configure(step bulkStep) error {
	var text strings.Builder
	text.WriteString("router id 10.200.0.11;\nprotocol device {}\nprotocol kernel { ipv4 { export all; import none; }; }\nprotocol static { ipv4;\n")
	if step != bulkClear {
		for _, r := range bulkRoutes(s.n, s.host.link, 0, step == bulkReplace) {
			fmt.Fprintf(&text, "route %s via %s;\n", r.IPNet(), netip.AddrFrom4(r.Gateway))
		}
	}
	text.WriteString("}\n")
	return os.WriteFile(s.file(step), []byte(text.String()), 0o600)
}

func (s *bulkBird) dial(ctx context.Context) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "unix", s.socket())
}

// awaitSocket waits until bird answers.
func (s *bulkBird) awaitSocket(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		c, err := s.dial(ctx)
		if err == nil {
			return c.Close()
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ECONNREFUSED) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("bird did not open its socket: %w: %s", ctx.Err(), s.child.stderr.b)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// write has bird read the step's configuration and counts the kernel's events.
func (s *bulkBird) write(ctx context.Context, step bulkStep) error {
	c, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := fmt.Fprintf(c, "configure \"%s\"\n", s.file(step)); err != nil {
		return err
	}
	want := uint16(unix.RTM_NEWROUTE)
	if step == bulkClear {
		want = unix.RTM_DELROUTE
	}
	buf := make([]byte, 8<<10)
	for seen := 0; seen < s.n; {
		n, err := s.monitor.Receive(buf)
		if err != nil {
			return fmt.Errorf("%d of %d events: %w: %s", seen, s.n, err, s.reply(c))
		}
		if kind, _, _ := floor.Event(buf[:n]); kind == want {
			seen++
		}
	}
	return nil
}

// reply is what bird said last.
func (s *bulkBird) reply(c net.Conn) string {
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	var said []string
	for lines := bufio.NewScanner(c); lines.Scan(); {
		said = append(said, lines.Text())
	}
	return strings.Join(said, "; ")
}

func (s *bulkBird) stop() {
	s.child.stop()
	s.monitor.Close()
	s.host.close()
}
