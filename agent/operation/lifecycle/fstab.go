package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hybridagent/agent/operation/engine"
	"hybridagent/agent/store"
)

// fstabPath is the table of file systems. nodeadm init drops its swap lines in
// place, and fails where the file is missing.
const fstabPath = "/etc/fstab"

// In root's state: /etc/fstab as it was before the operation, and before the first
// of them all, which has the swap lines.
const (
	fstabBackup = "fstab.before"
	fstabFirst  = "fstab.first"
)

// fstabKept is where /etc/fstab as it was before the host became a node is left
// when it is none any more.
const fstabKept = "/etc/fstab.before-nodeadm"

// backUpFstab keeps /etc/fstab as it is, and makes an empty one where there is none.
func (p *job) backUpFstab(ctx context.Context, run engine.Run) error {
	// The backup of an operation before is the earliest that there is.
	if err := p.keepFirst(fstabBackup); err != nil {
		return err
	}
	if err := p.backUpNow(ctx, run); err != nil {
		return err
	}
	return p.keepFirst(fstabBackup)
}

// keepFirst makes a backup the first one, where there is none.
func (p *job) keepFirst(name string) error {
	first := filepath.Join(p.Dir, fstabFirst)
	if _, err := os.Lstat(first); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	content, err := os.ReadFile(filepath.Join(p.Dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read the backup of %s: %w", fstabPath, err)
	}
	return store.WriteRaw(first, content, 0o644)
}

func (p *job) backUpNow(_ context.Context, run engine.Run) error {
	path := filepath.Join(p.Root, fstabPath)
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		p.tell(run, "%s is missing, which nodeadm init takes for an error: an empty one was made", fstabPath)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("cannot make %s: %w", fstabPath, err)
		}
		return errors.Join(store.WriteRaw(path, nil, 0o644), store.WriteRaw(filepath.Join(p.Dir, fstabBackup), nil, 0o644))
	}
	if err != nil {
		return fmt.Errorf("cannot back up %s: %w", fstabPath, err)
	}
	return store.WriteRaw(filepath.Join(p.Dir, fstabBackup), content, 0o644)
}

// showFstab says in the operation's log lines what nodeadm changed.
func (p *job) showFstab(run engine.Run) error {
	before, err := os.ReadFile(filepath.Join(p.Dir, fstabBackup))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read the backup of %s: %w", fstabPath, err)
	}
	after, err := os.ReadFile(filepath.Join(p.Root, fstabPath))
	if err != nil {
		return fmt.Errorf("cannot read %s after nodeadm: %w; its backup is %s", fstabPath, err, filepath.Join(p.Dir, fstabBackup))
	}
	changes := lineChanges(string(before), string(after))
	for _, change := range changes {
		p.tell(run, "%s: %s", fstabPath, change)
	}
	if len(changes) > 0 {
		p.tell(run, "%s as it was before is %s", fstabPath, filepath.Join(p.Dir, fstabBackup))
	}
	return nil
}

// partFromFstab leaves the first backup where an administrator finds it, if
// something is missing from /etc/fstab now, and says so.
func (p *job) partFromFstab(run engine.Run) error {
	before, err := os.ReadFile(filepath.Join(p.Dir, fstabFirst))
	if errors.Is(err, fs.ErrNotExist) {
		before, err = os.ReadFile(filepath.Join(p.Dir, fstabBackup))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read the backup of %s: %w", fstabPath, err)
	}
	now, err := os.ReadFile(filepath.Join(p.Root, fstabPath))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot read %s: %w", fstabPath, err)
	}
	lost := slices.DeleteFunc(lineChanges(string(before), string(now)), func(change string) bool { return strings.HasPrefix(change, "+") })
	if len(lost) > 0 {
		if err := store.WriteRaw(filepath.Join(p.Root, fstabKept), before, 0o644); err != nil {
			return fmt.Errorf("cannot keep the backup of %s: %w", fstabPath, err)
		}
		for _, line := range lost {
			p.tell(run, "%s: %s", fstabPath, line)
		}
		p.tell(run, "nodeadm init drops swap from %s, and it stays so: %s is how it was before this host became a node", fstabPath, fstabKept)
	}
	return removeAll(filepath.Join(p.Dir, fstabBackup), filepath.Join(p.Dir, fstabFirst))
}

// lineChanges lists the lines that went and those that came.
func lineChanges(before, after string) []string {
	old, now := strings.Split(before, "\n"), strings.Split(after, "\n")
	var changes []string
	for _, line := range old {
		if i := slices.Index(now, line); i >= 0 {
			now = slices.Delete(now, i, i+1)
		} else if strings.TrimSpace(line) != "" {
			changes = append(changes, "- "+line)
		}
	}
	for _, line := range now {
		if strings.TrimSpace(line) != "" {
			changes = append(changes, "+ "+line)
		}
	}
	return changes
}
