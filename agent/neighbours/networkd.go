package neighbours

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"hybridagent/agent/store"
)

// DropInPath is the file that asks networkd to leave the routes and policy rules
// of others alone.
const DropInPath = "/etc/systemd/networkd.conf.d/50-hybrid-agent.conf"

// dropIn is its whole content. Undo removes the file only where it holds exactly
// this: a change of the text keeps the former one for that.
const dropIn = `# Written by "hybrid-agent host-setup networkd"; "--undo" removes it.
# systemd-networkd else deletes routes and policy rules that it did not make,
# those of hybrid-agent among them, when it starts or configures a link anew.
[Network]
ManageForeignRoutes=no
ManageForeignRoutingPolicyRules=no
`

// Change is what is to be done to the drop-in, or was done.
type Change struct {
	// Action is "write", "remove" or "none".
	Action string `json:"action"`
	// Path of the file.
	Path string `json:"path"`
	// Content is what is written; empty but for "write".
	Content string `json:"content,omitempty"`
	// Done says that it was done; false for "none" and where it was only asked what
	// would be done.
	Done bool `json:"done"`
	// Systemd is the version found.
	Systemd string `json:"systemd"`
	// Notes say what to know about it, and what stands in the way of its effect.
	Notes []string `json:"notes"`
	// Next is the command by which it takes effect; empty where there is nothing to
	// do.
	Next string `json:"next,omitempty"`
}

// restart is the command that makes networkd read its global configuration.
const restart = "systemctl restart systemd-networkd"

// Plan says what has to be done to ask networkd to leave our routes alone, or, for
// undo, to take that back. An error says what stands in the way: a file that is
// not ours, a networkd that cannot be asked, or one with known faults unless
// acceptRisk.
func (h Host) Plan(ctx context.Context, undo, acceptRisk bool) (Change, error) {
	r := h.release(ctx)
	c := Change{Action: "none", Path: DropInPath, Systemd: r.String(), Notes: []string{}}
	held, err := h.dropInHeld()
	if err != nil {
		return c, err
	}
	if undo {
		if held {
			c.Action, c.Next = "remove", restart
		}
		return c, nil
	}
	running, err := h.running(ctx, networkdUnit)
	if err != nil {
		return c, err
	}
	if !running[networkdUnit] {
		c.Notes = append(c.Notes, "systemd-networkd does not run on this host: there is nothing to ask it")
		return c, nil
	}
	notes, risk := h.risk(r)
	if c.Notes = append(c.Notes, notes...); risk != nil && !held && !acceptRisk {
		return c, risk
	}
	overrides, err := h.overrides()
	if err != nil {
		return c, err
	}
	c.Notes = append(c.Notes, overrides...)
	if !held {
		c.Action, c.Content, c.Next = "write", dropIn, restart
	}
	return c, nil
}

// dropInHeld says whether the file is there and ours; a file there that is not
// ours is an error.
func (h Host) dropInHeld() (bool, error) {
	path := h.path(DropInPath)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot look at %s: %w", DropInPath, err)
	}
	if !info.Mode().IsRegular() {
		return false, fmt.Errorf("cannot use %s: it is no regular file, so hybrid-agent has not written it; remove it by hand", DropInPath)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return false, fmt.Errorf("cannot read %s: %w", DropInPath, err)
	}
	if !bytes.Equal(content, []byte(dropIn)) {
		return false, fmt.Errorf("cannot use %s: it is not as hybrid-agent writes it; keep your changes under another name and remove it by hand", DropInPath)
	}
	return true, nil
}

// Do carries out a plan. It is durable when it returns.
func (h Host) Do(c Change) (Change, error) {
	path := h.path(c.Path)
	switch c.Action {
	case "write":
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return c, fmt.Errorf("cannot write %s: %w", c.Path, err)
		}
		if err := store.WriteRaw(path, []byte(c.Content), 0o644); err != nil {
			return c, err
		}
	case "remove":
		if err := os.Remove(path); err != nil {
			return c, fmt.Errorf("cannot remove %s: %w", c.Path, err)
		}
		if err := store.SyncDir(filepath.Dir(path)); err != nil {
			return c, err
		}
	default:
		return c, nil
	}
	c.Done = true
	return c, nil
}

// overrides names the files that undo ours: drop-ins that are read after it.
func (h Host) overrides() ([]string, error) {
	found, err := h.settings()
	if err != nil {
		return nil, err
	}
	var notes []string
	for _, key := range foreignSettings() {
		s, set := found[key]
		if set && !isNo(s.value) && filepath.Base(s.file) > filepath.Base(DropInPath) && filepath.Base(s.file) != "networkd.conf" {
			notes = append(notes, fmt.Sprintf("%s says %s=%s and is read after %s: take the line out of it", s.file, key, s.value, filepath.Base(DropInPath)))
		}
	}
	return notes, nil
}
