package main

import (
	"net/netip"
	"slices"
	"testing"
)

func TestWhoMayUseTheDoor(t *testing.T) {
	var none *daemonUser
	daemon := &daemonUser{uid: 995, gid: 995}
	for _, c := range []struct {
		user *daemonUser
		uid  uint32
		want bool
	}{{none, 0, true}, {none, 995, false}, {daemon, 0, true}, {daemon, 995, true}, {daemon, 1000, false}, {daemon, 4294967295, false}} {
		if got := c.user.allowed(c.uid); got != c.want {
			t.Errorf("user %d may use the door of %+v: %v, want %v", c.uid, c.user, got, c.want)
		}
	}
}

func TestLookUser(t *testing.T) {
	if user, err := lookUser("root"); err != nil || user == nil || user.uid != 0 {
		t.Errorf("root = %+v, %v", user, err)
	}
	if user, err := lookUser("64321"); err != nil || user == nil || user.uid != 64321 {
		t.Errorf("64321 = %+v, %v", user, err)
	}
	if user, err := lookUser("no-such-user-here"); err != nil || user != nil {
		t.Errorf("a user that does not exist = %+v, %v", user, err)
	}
}

func TestAddresses(t *testing.T) {
	found, err := addresses()
	if err != nil || !slices.Contains(found, netip.MustParseAddr("127.0.0.1")) {
		t.Errorf("addresses = %v, %v", found, err)
	}
}

func TestUsageErrors(t *testing.T) {
	for _, args := range [][]string{{}, {"serve", "extra"}, {"serve", "--bogus"}, {"show", "-o", "xml"}, {"frobnicate"}} {
		if code := run(t.Context(), args); code != exitUsage {
			t.Errorf("%v exits %d, want %d", args, code, exitUsage)
		}
	}
	if code := run(t.Context(), []string{"version"}); code != 0 {
		t.Errorf("version exits %d", code)
	}
}
