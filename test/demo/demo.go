package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"hybridagent/test/lab"
	"hybridagent/test/lab/actors"
)

// check does one row's work and returns what it saw.
type check func(ctx context.Context) (evidence string, err error)

// demo is one run.
type demo struct {
	out        io.Writer
	repository string
	sabotage   sabotage
	started    time.Time

	bin      actors.Binaries
	site     *lab.Site
	aws      *actors.AWS
	plane    *actors.Plane
	operator *actors.Operator
	edges    []*actors.Edge
	// ids are the edge hosts' IDs, by host name, once they enrolled.
	ids map[string]string
}

func newDemo(out io.Writer, repository string, sabotage sabotage) *demo {
	return &demo{out: out, repository: repository, sabotage: sabotage, started: time.Now(), ids: make(map[string]string)}
}

// say prints a progress line, wrapped to the terminal's 80 columns.
func (d *demo) say(format string, args ...any) {
	const indent = 8
	lines := wrap(fmt.Sprintf(format, args...), tableWidth-indent)
	fmt.Fprintf(d.out, "%5.1fs  %s\n", time.Since(d.started).Seconds(), lines[0])
	for _, line := range lines[1:] {
		fmt.Fprintf(d.out, "%*s%s\n", indent, "", line)
	}
}

// play makes the site, checks every row, prints the table and removes the site, unless it is to be kept. held says that every row held.
func (d *demo) play(ctx context.Context, keep bool) (allHeld bool, err error) {
	fmt.Fprintln(d.out, "hybrid-agent demo: one site on this machine, from bare hosts to Ready nodes")
	fmt.Fprintln(d.out, "stand-ins: AWS and its Kubernetes API, nodeadm, kubelet. real: all else,")
	fmt.Fprintln(d.out, "the kernel's routing, VPN tunnel, chronyd, etcd and gRPC among it.")
	if d.sabotage != breakNothing {
		fmt.Fprintf(d.out, "DEMO_BREAK=%s: %v\n", string(d.sabotage), d.sabotage)
	}
	rows := d.rows()
	err = d.setUp(ctx)
	defer func() {
		if d.site != nil && !(keep && ctx.Err() == nil) {
			err = errors.Join(err, d.site.Close())
		}
	}()
	if err == nil {
		d.checkAll(ctx, rows)
	}
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	allHeld = d.report(rows, err)
	if !allHeld {
		d.keepLogs()
	}
	if keep && d.site != nil {
		if err := d.site.Keep(); err != nil {
			return false, err
		}
		d.lookAround()
	}
	return allHeld, err
}

// setUp brings up what is there before the product comes to the edge: the site, AWS, time, the plane.
func (d *demo) setUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	var err error
	if d.bin, err = actors.FindBinaries(d.repository); err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	files := actors.EdgeFiles(d.bin)
	files[demoOnHost] = program
	d.site, err = lab.New(ctx, lab.Options{Folder: sitesFolder(d.repository), Edges: 2, Files: files, Users: actors.EdgeUsers()})
	if err != nil {
		return err
	}
	d.say("site %s: gw, plane, ntp, vpn, vpn2, vpc, edge-1, edge-2 in namespaces of their own", d.site.Name)
	if err := d.startClock(ctx); err != nil {
		return err
	}
	if d.aws, err = actors.StartAWS(ctx, d.site, d.bin); err != nil {
		return err
	}
	d.say("vpc: the stand-in for AWS and the EKS API answers at %s", lab.EKSEndpoint)
	if d.plane, err = actors.StartPlane(ctx, d.site, d.bin); err != nil {
		return err
	}
	d.say("plane: hybrid-plane serves at %s:%s", lab.PlaneAddress, actors.PlanePort)
	d.operator, err = actors.NewOperator(d.plane)
	return err
}

func (d *demo) startClock(ctx context.Context) error {
	if d.sabotage == breakClock {
		return nil
	}
	chrony, err := lab.FetchChrony(ctx)
	if err != nil {
		return err
	}
	if _, err := d.site.StartChrony(chrony); err != nil {
		return err
	}
	d.say("ntp: chronyd -x serves time at %s", lab.NTPAddress)
	return nil
}

// checkAll runs the rows in order; a row whose needs were not met is not reached.
func (d *demo) checkAll(ctx context.Context, rows []*row) {
	results := make(map[string]result)
	for _, r := range rows {
		for _, need := range r.needs {
			if results[need] != held {
				results[r.id] = notReached
				r.evidence = "needs " + need
			}
		}
		if results[r.id] == notReached {
			continue
		}
		r.evidence, r.result = d.checkOne(ctx, r)
		results[r.id] = r.result
		if ctx.Err() != nil {
			return
		}
		d.say("%s %s: %s", r.result, r.id, r.evidence)
	}
}

func (d *demo) checkOne(ctx context.Context, r *row) (string, result) {
	ctx, cancel := context.WithTimeout(ctx, r.limit)
	defer cancel()
	evidence, err := r.check(ctx)
	if err != nil {
		return strings.Join(strings.Fields(err.Error()), " "), failed
	}
	return evidence, held
}

// report prints the table and says whether every row held.
func (d *demo) report(rows []*row, setUpErr error) bool {
	fmt.Fprintln(d.out)
	printTable(d.out, rows)
	fmt.Fprintln(d.out)
	count := 0
	for _, r := range rows {
		if r.result == held {
			count++
		}
	}
	fmt.Fprintf(d.out, "%d of %d checks held in %.1f s\n", count, len(rows), time.Since(d.started).Seconds())
	return setUpErr == nil && count == len(rows)
}

// keepLogs copies the logs of a failed run to where they outlive the site.
func (d *demo) keepLogs() {
	if d.site == nil {
		return
	}
	target := filepath.Join(d.repository, "build/lab/last-failure")
	logs, err := filepath.Glob(filepath.Join(d.site.Folder, "*", "*.log"))
	if err == nil {
		err = os.RemoveAll(target)
	}
	for _, log := range logs {
		if err == nil {
			err = copyFile(log, filepath.Join(target, filepath.Base(filepath.Dir(log)), filepath.Base(log)))
		}
	}
	if err != nil {
		fmt.Fprintln(d.out, "cannot keep the logs:", err)
		return
	}
	fmt.Fprintln(d.out, "logs of this run: build/lab/last-failure")
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	folder := filepath.Dir(to)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return errors.Join(os.WriteFile(to, data, 0o644), giveBack(filepath.Dir(folder), folder, to))
}

// lookAround says what can be done with a kept site.
func (d *demo) lookAround() {
	fmt.Fprintf(d.out, `
The site stays up. To look around (as root):
  build/lab/demo exec edge-1 hybrid-agent status
  build/lab/demo exec edge-1 hybrid-agent nics
  build/lab/demo exec edge-1 ip route
  build/lab/demo exec edge-1 cat /var/lib/hybrid-agent-op/host-id
  build/lab/demo exec plane %s \
    --context %s get pools
  build/lab/demo exec vpc ping -c 3 %s
  ls %s/*
To remove it:
  make demo-down
`, d.bin.Ctl, d.plane.Context, lab.LANAddress(1), d.site.Folder)
}

func architecture() string { return strings.ToUpper(runtime.GOARCH) }
