package artifact

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// binariesDir is where fetched nodeadm binaries lie, each in a folder of its hash.
const binariesDir = "nodeadm"

// Nodeadm returns the path of the nodeadm to run: own, where the node part pins
// none, else the pinned one, fetched where it is missing and verified every time.
// It is to be called before every run. Other pinned binaries stay; PruneNodeadm
// removes them. Errors are as of Stage.
func Nodeadm(ctx context.Context, opt Options, own string) (string, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return "", err
	}
	source := opt.Spec.GetNodeadm()
	if source.GetUrl() == "" {
		return own, nil
	}
	path := binaryPath(opt.Dir, source)
	if held(opt.Dir, source) {
		return path, checkRunnable(path)
	}
	for _, dir := range []string{opt.Dir, filepath.Join(opt.Dir, binariesDir), filepath.Dir(path)} {
		if err := makeDir(dir); err != nil {
			return "", err
		}
	}
	if err := os.RemoveAll(path); err != nil {
		return "", fmt.Errorf("cannot remove the damaged %s: %w", path, err)
	}
	client := opt.client()
	defer client.CloseIdleConnections()
	it := item{entry: entry{Name: "nodeadm", URI: source.GetUrl()}, size: headSize(ctx, client, source.GetUrl(), opt.Stall)}
	if it.have, err = sizeOf(path + ".part"); err != nil {
		return "", err
	}
	if err := opt.checkSpace(opt.Dir, []item{it}); err != nil {
		return "", err
	}
	fetch := download{
		what: "nodeadm", uri: source.GetUrl(), sum: source.GetSha256(), path: path, mode: 0o755, stall: opt.Stall,
		progress: func(have uint64) { opt.Progress("nodeadm", have, it.size) },
	}
	if err := fetch.fetch(ctx, client); err != nil {
		return "", err
	}
	return path, checkRunnable(path)
}

// PruneNodeadm removes the fetched binaries but those of the given hashes.
func PruneNodeadm(dir string, keep ...string) error {
	entries, err := os.ReadDir(filepath.Join(dir, binariesDir))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot clean up %s: %w", dir, err)
	}
	kept := map[string]bool{}
	for _, sum := range keep {
		kept[sum] = true
	}
	for _, one := range entries {
		if kept[one.Name()] {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, binariesDir, one.Name())); err != nil {
			return fmt.Errorf("cannot clean up %s: %w", dir, err)
		}
	}
	return nil
}

func binaryPath(dir string, source *agentv1.NodeadmSource) string {
	return filepath.Join(dir, binariesDir, source.GetSha256(), "nodeadm")
}

// held reports whether the pinned binary is here, whole and root's alone.
func held(dir string, source *agentv1.NodeadmSource) bool {
	path := binaryPath(dir, source)
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm() != 0o755 {
		return false
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || int(stat.Uid) != os.Geteuid() {
		return false
	}
	sum, err := sumOf(path)
	return err == nil && sum == source.GetSha256()
}

// checkRunnable refuses a file system that programs cannot be started from.
func checkRunnable(path string) error {
	var stat unix.Statfs_t
	if err := unix.Statfs(path, &stat); err != nil {
		return fmt.Errorf("cannot look at the file system of %s: %w", path, err)
	}
	if stat.Flags&unix.ST_NOEXEC != 0 {
		return refuse("cannot run nodeadm from %s: its file system is mounted noexec; mount it without, or let the image bring nodeadm (remove nodeadm from the HybridProfile)", path)
	}
	return nil
}
