package main

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"hybridagent/plane/operator"
	"hybridagent/plane/planetest"
)

// runWith runs the command line and answers its exit code and standard error.
func runWith(t *testing.T, args ...string) (int, string) {
	t.Helper()
	var out, errOut bytes.Buffer
	code := run(context.Background(), args, strings.NewReader(""), &out, &errOut)
	return code, errOut.String()
}

func TestExitCodes(t *testing.T) {
	p := planetest.Start(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	deaf := contextFor(t, p.ContextFile, func(c *operator.Context) { c.Address = silent.Addr().String() })
	other := planetest.Start(t)
	foreign := contextFor(t, p.ContextFile, func(c *operator.Context) { c.Address = other.Address })
	stranger := contextFor(t, p.ContextFile, func(c *operator.Context) { c.Address, c.CA = other.Address, string(other.CAPEM) })
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"done":                   {[]string{"get", "pools", "--context", p.ContextFile}, 0, ""},
		"refused":                {[]string{"get", "pool", "nosuch", "--context", p.ContextFile}, exitFailed, `NodePool "nosuch" does not exist`},
		"usage":                  {[]string{"get", "pools", "--frob"}, exitUsage, "unknown flag"},
		"no context":             {[]string{"get", "pools", "--context", "nosuch"}, exitUsage, "there is no context file"},
		"nobody answers":         {[]string{"get", "pools", "--context", deaf, "--timeout", "300ms"}, exitUnreachable, "at " + silent.Addr().String()},
		"another plane":          {[]string{"get", "pools", "--context", foreign}, exitUnreachable, "cannot trust what answers at " + other.Address},
		"another plane's client": {[]string{"get", "pools", "--context", stranger}, exitFailed, "use the context file that this plane wrote"},
	} {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			code, said := runWith(t, c.args...)
			if code != c.code || !strings.Contains(said, c.says) {
				t.Errorf("exit %d, %q; want %d with %q", code, said, c.code, c.says)
			}
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

// contextFor is a changed copy of a context file.
func contextFor(t *testing.T, from string, change func(*operator.Context)) string {
	t.Helper()
	c, err := operator.Read(from)
	if err != nil {
		t.Fatal(err)
	}
	change(&c)
	path := t.TempDir() + "/context.yaml"
	if err := c.Write(path); err != nil {
		t.Fatal(err)
	}
	return path
}
