package lab_test

import (
	"bufio"
	"context"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/beevik/ntp"

	"hybridagent/test/lab"
)

// holderVariable makes the test binary a program that makes a site and then waits to be killed.
const holderVariable = "HYBRID_LAB_TEST_HOLDER"

func TestMain(m *testing.M) {
	lab.Main()
	if folder := os.Getenv(holderVariable); folder != "" {
		hold(folder)
	}
	os.Exit(m.Run())
}

func hold(folder string) {
	ctx := context.Background()
	site, err := lab.New(ctx, lab.Options{Folder: folder, Edges: 1})
	if err == nil {
		_, err = site.Host("edge-1").Start("sleep", site.Host("edge-1").Command(ctx, "sleep", "600"))
	}
	if err == nil {
		_, err = site.Host("gw").Start("sleep", site.Host("gw").Command(ctx, "sleep", "600"))
	}
	if err != nil {
		os.Stdout.WriteString("failed: " + err.Error() + "\n")
		os.Exit(1)
	}
	os.Stdout.WriteString("up\n")
	select {}
}

func newSite(t *testing.T, opts lab.Options) (*lab.Site, context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	opts.Folder = t.TempDir()
	site, err := lab.New(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := site.Close(); err != nil {
			t.Error(err)
		}
		requireNothingLeft(t, opts.Folder)
	})
	return site, ctx
}

func requireNothingLeft(t *testing.T, folder string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	err := lab.Until(ctx, "an empty machine", 10*time.Millisecond, func(context.Context) error {
		left, err := lab.Leftovers(folder)
		if err != nil {
			return err
		}
		if len(left) > 0 {
			return &leftError{left}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

type leftError struct{ what []string }

func (e *leftError) Error() string { return "left behind: " + strings.Join(e.what, "; ") }

func ping(ctx context.Context, h *lab.Host, args ...string) error {
	_, err := h.Exec(ctx, "ping", append([]string{"-c", "1", "-W", "0.3", "-q"}, args...)...)
	return err
}

func TestTopology(t *testing.T) {
	site, ctx := newSite(t, lab.Options{Edges: 2})
	for _, name := range []string{"edge-1", "edge-2"} {
		edge := site.Host(name)
		for _, address := range []string{lab.LANGateway, lab.VPNServer, lab.PlaneAddress, lab.NTPAddress, "192.168.77.1"} {
			if err := ping(ctx, edge, address); err != nil {
				t.Errorf("%s does not reach %s: %v", name, address, err)
			}
		}
		for _, address := range []string{lab.VPCGateway, lab.EKSEndpoint, lab.AWSServices} {
			if err := ping(ctx, edge, address); err == nil {
				t.Errorf("%s reaches %s of the VPC without a route", name, address)
			}
		}
		route, err := edge.Exec(ctx, "ip", "route", "get", "8.8.8.8")
		if err != nil || !strings.Contains(route, "dev office0") {
			t.Errorf("best default route of %s is %q, %v; want office0", name, route, err)
		}
	}
	if err := ping(ctx, site.Host("vpc"), lab.LANAddress(1)); err == nil {
		t.Error("the VPC reaches edge-1 although it has no way back")
	}
}

func TestRouteThroughVPN(t *testing.T) {
	site, ctx := newSite(t, lab.Options{Edges: 1})
	edge := site.Host("edge-1")
	dst := netip.MustParsePrefix(lab.VPCCIDR)
	if err := edge.IP(ctx, "route add "+lab.VPCCIDR+" via "+lab.VPNServer); err != nil {
		t.Fatal(err)
	}
	if err := ping(ctx, edge, lab.EKSEndpoint); err != nil {
		t.Error(err)
	}
	if err := ping(ctx, site.Host("vpc"), lab.LANAddress(1)); err != nil {
		t.Error(err)
	}
	to, from, err := site.Forwarded(ctx)
	if err != nil || to != 2 || from != 2 {
		t.Errorf("forwarded %d, %d, %v; want 2 packets each way", to, from, err)
	}
	monitor, err := edge.MonitorRoute(dst)
	if err != nil {
		t.Fatal(err)
	}
	defer monitor.Close()
	asked, err := edge.DeleteRoute(dst)
	if err != nil {
		t.Fatal(err)
	}
	if err := edge.IP(ctx, "route add "+lab.VPCCIDR+" via "+lab.VPNServer); err != nil {
		t.Fatal(err)
	}
	if back, err := monitor.Repaired(ctx); err != nil || !back.After(asked) {
		t.Errorf("asked at %v, monitor saw it back at %v, %v", asked, back, err)
	}
}

func TestEdgeHostIsItsOwn(t *testing.T) {
	machineID, _ := os.ReadFile("/etc/machine-id")
	site, ctx := newSite(t, lab.Options{Edges: 2, Users: []lab.User{{Name: "lab-user", ID: 64123}}})
	edge := site.Host("edge-1")
	for _, c := range []struct{ script, want string }{
		{"hostname", "edge-1"},
		{"cat /sys/class/dmi/id/product_uuid", lab.ProductUUID(site.Name, 1)},
		{"cat /etc/machine-id", lab.MachineID(site.Name, 1)},
		{"cat /run/hybrid-lab/marker", site.Name},
		{"cat /proc/sys/net/ipv4/ping_group_range | tr '\\t' ' '", "0 2147483647"},
		{"id -u lab-user", "64123"},
		{"ls /sys/class/net | tr '\\n' ' '", "docker0 lan0 lo office0"},
		{"echo x >/etc/lab-test && echo x >/usr/bin/lab-test && echo x >/eks && ls /etc/lab-test", "/etc/lab-test"},
		{"test -e /proc/1/root" + site.Folder + " || echo hidden", "hidden"},
	} {
		out, err := edge.Exec(ctx, "sh", "-c", c.script)
		if err != nil || strings.TrimSpace(out) != c.want {
			t.Errorf("%s: %q, %v; want %q", c.script, out, err, c.want)
		}
	}
	for _, path := range []string{"/etc/lab-test", "/usr/bin/lab-test", "/eks"} {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s written in the host appears on the machine", path)
		}
		if _, err := site.Host("edge-2").Exec(ctx, "test", "-e", path); err == nil {
			t.Errorf("%s written on edge-1 appears on edge-2", path)
		}
	}
	if after, _ := os.ReadFile("/etc/machine-id"); string(after) != string(machineID) {
		t.Error("the machine's own machine-id changed")
	}
}

func TestTwoSitesAtOnce(t *testing.T) {
	first, ctx := newSite(t, lab.Options{Edges: 1})
	second, err := lab.New(ctx, lab.Options{Folder: t.TempDir(), Edges: 1})
	if err != nil {
		t.Fatal(err)
	}
	if first.Name == second.Name {
		t.Errorf("both sites are named %s", first.Name)
	}
	if err := ping(ctx, second.Host("edge-1"), lab.VPNServer); err != nil {
		t.Error(err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if err := ping(ctx, first.Host("edge-1"), lab.VPNServer); err != nil {
		t.Errorf("the end of one site broke the other: %v", err)
	}
}

func TestTimeServer(t *testing.T) {
	site, ctx := newSite(t, lab.Options{Edges: 1})
	folder, err := lab.FetchChrony(ctx)
	if err != nil {
		t.Fatal(err)
	}
	chronyd, err := site.StartChrony(folder)
	if err != nil {
		t.Fatal(err)
	}
	err = lab.Until(ctx, "an answer of chronyd", 20*time.Millisecond, func(context.Context) error {
		return site.Host("edge-1").Do(func() error {
			answer, err := ntp.QueryWithOptions(lab.NTPAddress, ntp.QueryOptions{Timeout: time.Second})
			if err != nil {
				return err
			}
			return answer.Validate()
		})
	})
	if err != nil {
		t.Errorf("%v; log:\n%s", err, chronyd.Tail(20))
	}
}

func TestProcessStops(t *testing.T) {
	site, ctx := newSite(t, lab.Options{Edges: 1})
	for _, name := range []string{"gw", "edge-1"} {
		h := site.Host(name)
		p, err := h.Start("stubborn", h.Command(ctx, "sh", "-c", "trap '' TERM; echo started; while :; do sleep 0.05; done"))
		if err != nil {
			t.Fatal(err)
		}
		err = lab.Until(ctx, "the program", 5*time.Millisecond, func(context.Context) error {
			if p.Tail(1) != "started" {
				return os.ErrNotExist
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Stop(50 * time.Millisecond); err != nil {
			t.Error(err)
		}
		if p.Err() == nil {
			t.Errorf("%s: a killed program reports success", name)
		}
	}
}

func TestNothingOutlivesAKilledHolder(t *testing.T) {
	folder := t.TempDir()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), holderVariable+"="+folder)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "up\n" {
		t.Fatalf("holder said %q, %v", line, err)
	}
	if left, err := lab.Leftovers(folder); err != nil || len(left) < 4 {
		t.Errorf("a running site shows as %q, %v", left, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("a killed holder reports success")
	}
	requireNothingLeft(t, folder)
}
