package artifact

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hybridagent/nodeadm"
)

// Staged is a version whose artifacts are all on disk and verified.
type Staged struct {
	// Dir is the folder of the version.
	Dir string
	// Version is the Kubernetes version.
	Version string
	// Fetched are the bytes that were downloaded for it this time.
	Fetched uint64

	record record
}

// Stage brings everything that nodeadm install and upgrade to the node part's
// version will download: nothing is asked of the network where all of it is there
// already. Errors are *nodeadm.Failure, *SpaceError, or the context's; what has
// come stays and the next try goes on from there. Once all is there, the folders
// of versions that Options.Keep does not name are removed.
func Stage(ctx context.Context, opt Options) (Staged, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return Staged{}, err
	}
	staged, err := Open(opt)
	if err == nil {
		return staged, opt.prune()
	}
	if !errors.Is(err, ErrNotStaged) {
		return Staged{}, err
	}
	client := opt.client()
	defer client.CloseIdleConnections()
	raw, picked, err := opt.read(ctx, client)
	if err != nil {
		return Staged{}, err
	}
	dir := opt.folder()
	for _, one := range []string{opt.Dir, dir} {
		if err := makeDir(one); err != nil {
			return Staged{}, err
		}
	}
	staged = Staged{Dir: dir, Version: opt.Spec.GetKubernetesVersion(), record: record{
		Version: opt.Spec.GetKubernetesVersion(), Region: opt.Spec.GetRegion(), Provider: nodeadm.Provider(opt.Spec), Arch: opt.Arch, Manifest: raw,
	}}
	if err := opt.fetchAll(ctx, client, &staged, picked.entries()); err != nil {
		return Staged{}, err
	}
	if err := staged.record.write(dir); err != nil {
		return Staged{}, err
	}
	return staged, opt.prune()
}

// read fetches the manifest and picks from it.
func (o Options) read(ctx context.Context, client *http.Client) ([]byte, choice, error) {
	raw, err := small(ctx, client, "nodeadm's manifest", o.Manifest, maxManifest, o.Stall)
	if err != nil {
		return nil, choice{}, err
	}
	m, err := decode(raw)
	if err != nil {
		return nil, choice{}, refuse("%v; correct nodeadm.manifest in config.yaml, or the file there", err)
	}
	picked, err := m.choose(o.Spec.GetKubernetesVersion(), o.Spec.GetRegion(), nodeadm.Provider(o.Spec), o.Arch)
	return raw, picked, err
}

// item is an artifact with what is known of it.
type item struct {
	entry

	sum string
	// size is what the server says; 0: it does not.
	size uint64
	// have are the bytes that are there, and whole says that they are all and right.
	have  uint64
	whole bool
}

// fetchAll asks for checksums and sizes, checks the disk, then downloads.
func (o Options) fetchAll(ctx context.Context, client *http.Client, staged *Staged, entries []entry) error {
	var items []item
	for _, one := range entries {
		it, err := o.look(ctx, client, staged.Dir, one)
		if err != nil {
			return err
		}
		items = append(items, it)
	}
	if err := o.checkSpace(staged.Dir, items); err != nil {
		return err
	}
	sum := progress{options: o, total: total(items)}
	for _, it := range items {
		if !it.whole {
			if err := o.download(staged.Dir, it, &sum).fetch(ctx, client); err != nil {
				return err
			}
			now, err := sizeOf(filepath.Join(staged.Dir, it.file()))
			if err != nil {
				return err
			}
			staged.Fetched += now - min(it.have, now)
			it.have = now
		}
		sum.done += it.have
		staged.record.Files = append(staged.record.Files, stored{Name: it.Name, File: it.file(), SHA256: it.sum, Size: it.have})
	}
	return nil
}

func (o Options) download(dir string, it item, sum *progress) download {
	return download{
		what: it.Name, uri: it.URI, sum: it.sum, path: filepath.Join(dir, it.file()), mode: 0o600, stall: o.Stall,
		progress: func(have uint64) { o.Progress(it.Name, sum.done+have, sum.total) },
	}
}

// progress adds up what is there.
type progress struct {
	options     Options
	done, total uint64
}

// total is 0 where one size is not known.
func total(items []item) uint64 {
	var sum uint64
	for _, it := range items {
		if it.size == 0 && !it.whole {
			return 0
		}
		sum += max(it.size, it.have)
	}
	return sum
}

// look finds out what an artifact's checksum and size are, and what of it is here.
func (o Options) look(ctx context.Context, client *http.Client, dir string, one entry) (item, error) {
	content, err := small(ctx, client, "the checksum of "+one.Name, one.Checksum, maxChecksum, o.Stall)
	if err != nil {
		return item{}, err
	}
	sum, ok := checksumOf(content, one.file())
	if !ok {
		return item{}, refuse("cannot use the checksum of %s from %s: it holds no line \"<SHA-256>  %s\"; correct the file there", one.Name, hostOf(one.Checksum), one.file())
	}
	it := item{entry: one, sum: sum}
	path := filepath.Join(dir, one.file())
	got, err := sumOf(path)
	if err != nil || got != sum {
		borrowed, failed := o.borrow(path, sum)
		if failed != nil {
			return item{}, failed
		}
		if borrowed {
			got, err = sum, nil
		}
	}
	switch {
	case err == nil && got == sum:
		it.whole = true
		it.have, err = sizeOf(path)
		return it, err
	case err == nil:
		// Damaged by a power cut, or of another release.
		if err := os.Remove(path); err != nil {
			return item{}, fmt.Errorf("cannot remove the damaged %s: %w", path, err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return item{}, err
	}
	if it.have, err = sizeOf(path + ".part"); err != nil {
		return item{}, err
	}
	it.size = headSize(ctx, client, one.URI, o.Stall)
	return it, nil
}

// borrow gives an artifact that lies in another folder of the version a second name,
// in place of a damaged one. Files are replaced whole and never written to again.
func (o Options) borrow(path, sum string) (bool, error) {
	for _, dir := range o.besides() {
		from := filepath.Join(dir, filepath.Base(path))
		if got, err := sumOf(from); err != nil || got != sum {
			continue
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, fmt.Errorf("cannot remove the damaged %s: %w", path, err)
		}
		if err := os.Link(from, path); err != nil {
			return false, fmt.Errorf("cannot stage %s: %w", path, err)
		}
		return true, nil
	}
	return false, nil
}

// headSize asks for a file's size; 0: the server does not tell.
func headSize(ctx context.Context, client *http.Client, uri string, stall time.Duration) uint64 {
	ctx, watch := watched(ctx, stall)
	defer watch.stop()
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, uri, nil)
	if err != nil {
		return 0
	}
	response, err := client.Do(request)
	if err != nil {
		return 0
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK || response.ContentLength < 0 {
		return 0
	}
	return uint64(response.ContentLength)
}

// checkSpace refuses before the first byte what the disk cannot hold.
func (o Options) checkSpace(dir string, items []item) error {
	var need uint64
	for _, it := range items {
		if !it.whole {
			need += it.size - min(it.have, it.size)
		}
	}
	free, err := o.Free(dir)
	if err != nil {
		return err
	}
	if need > 0 && free < need+reserve {
		return &SpaceError{Dir: dir, Need: need + reserve, Free: free}
	}
	return nil
}

// reserve stays free beside the artifacts, in bytes: the journal must always be
// able to write.
const reserve = 16 << 20

// prune removes the folders of versions that nobody keeps.
func (o Options) prune() error {
	entries, err := os.ReadDir(o.Dir)
	if err != nil {
		return fmt.Errorf("cannot clean up %s: %w", o.Dir, err)
	}
	keep := append([]string{o.Spec.GetKubernetesVersion()}, o.Keep...)
	for _, one := range entries {
		version, _, _ := strings.Cut(one.Name(), folderMark)
		if !versionForm.MatchString(version) || slices.Contains(keep, version) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(o.Dir, one.Name())); err != nil {
			return fmt.Errorf("cannot clean up %s: %w", o.Dir, err)
		}
	}
	return nil
}
