package door

import (
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestPeerIsWhoTheKernelSays connects as another user: what it says of itself
// does not count, and it is refused.
func TestPeerIsWhoTheKernelSays(t *testing.T) {
	const stranger = 64322
	var asked atomic.Uint32
	b := open(t, func(o *Options) {
		o.Allowed = func(uid uint32) bool {
			asked.Store(uid)
			return uid != stranger
		}
	})
	// Everybody may connect here: only the door itself refuses.
	chmodAll(t, b.path)
	cmd := exec.CommandContext(t.Context(), "/usr/bin/env", "-i", "perl", "-MIO::Socket::UNIX", "-e",
		`my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die $!; print $s "\0\0\0\0"; $s->shutdown(1); local $/; print <$s>`, b.path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if !strings.Contains(string(out), "user 64322 may not ask") || asked.Load() != stranger {
		t.Errorf("answer %q, asked for user %d", out, asked.Load())
	}
	deadline := time.Now().Add(10 * time.Second)
	for !b.door.CloseIfIdle(0) {
		if time.Now().After(deadline) {
			t.Fatal("the connection is still open")
		}
	}
}
