package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// small fetches a file of a few kilobytes into memory.
func small(ctx context.Context, client *http.Client, what, uri string, limit int64, stall time.Duration) ([]byte, error) {
	if path, ok := strings.CutPrefix(uri, "file://"); ok {
		return local(what, path, limit)
	}
	ctx, watch := watched(ctx, stall)
	defer watch.stop()
	response, err := get(ctx, client, what, uri, 0)
	if err != nil {
		return nil, explain(ctx, what, uri, err, stall)
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(io.LimitReader(watch.reader(response.Body), limit+1))
	if err != nil {
		return nil, explain(ctx, what, uri, err, stall)
	}
	if int64(len(content)) > limit {
		return nil, refuse("cannot use %s from %s: it is larger than %s; correct the address", what, hostOf(uri), size(uint64(limit)))
	}
	return content, nil
}

func local(what, path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, refuse("cannot read %s: %v; correct nodeadm.manifest in config.yaml", what, err)
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read %s %s: %w", what, path, err)
	}
	if int64(len(content)) > limit {
		return nil, refuse("cannot use %s %s: it is larger than %s; correct nodeadm.manifest in config.yaml", what, path, size(uint64(limit)))
	}
	return content, nil
}

// get asks for a file from an offset on. Whatever is no answer with content is an
// error in words.
func get(ctx context.Context, client *http.Client, what, uri string, from int64) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return nil, refuse("cannot fetch %s: %q is no address; correct the manifest", what, uri)
	}
	if from > 0 {
		request.Header.Set("Range", "bytes="+strconv.FormatInt(from, 10)+"-")
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	switch code := response.StatusCode; {
	case code == http.StatusOK, code == http.StatusPartialContent && from > 0, code == http.StatusRequestedRangeNotSatisfiable && from > 0:
		return response, nil
	default:
		_ = response.Body.Close()
		return nil, badStatus(what, uri, code)
	}
}

func badStatus(what, uri string, code int) error {
	status := strconv.Itoa(code) + " " + http.StatusText(code)
	switch {
	case code == http.StatusNotFound || code == http.StatusGone:
		return refuse("cannot fetch %s: %s does not have it (%s); correct the address in the manifest or put the file there", what, hostOf(uri), status)
	case code == http.StatusUnauthorized || code == http.StatusForbidden || code == http.StatusProxyAuthRequired:
		return refuse("cannot fetch %s: %s does not give it to this host (%s); allow it on the server or the proxy", what, hostOf(uri), status)
	case code >= 500 || code == http.StatusTooManyRequests:
		return passing("cannot fetch %s: %s has a fault at the moment (%s); try again later", what, hostOf(uri), status)
	}
	return refuse("cannot fetch %s: %s answered %s; correct the address in the manifest", what, hostOf(uri), status)
}

// watch ends a request when nothing comes any more.
type watch struct {
	timer  *time.Timer
	every  time.Duration
	cancel context.CancelCauseFunc
}

// watched returns a context that ends with errStalled once nothing has come for
// stall.
func watched(ctx context.Context, stall time.Duration) (context.Context, *watch) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watch{every: stall, cancel: cancel}
	w.timer = time.AfterFunc(stall, func() { cancel(errStalled) })
	return ctx, w
}

func (w *watch) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// reader tells the watch of every byte.
func (w *watch) reader(r io.Reader) io.Reader { return &watchedReader{r, w} }

type watchedReader struct {
	io.Reader
	watch *watch
}

// Read reads and puts the end off.
func (r *watchedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if n > 0 {
		r.watch.timer.Reset(r.watch.every)
	}
	return n, err
}

// download is one file on its way to disk.
type download struct {
	what, uri, sum string
	// path is the finished file; what has come of it lies beside it as .part.
	path  string
	mode  os.FileMode
	stall time.Duration
	// progress is told how many bytes are there.
	progress func(have uint64)
}

func (d download) part() string { return d.path + ".part" }

// fetch brings the file: it goes on with what an earlier try left, and begins anew
// where that turns out to be of no use, for example after a power cut.
func (d download) fetch(ctx context.Context, client *http.Client) error {
	resumed, err := d.receive(ctx, client)
	if err != nil {
		return err
	}
	err = d.finish()
	if err == nil || !errors.Is(err, errWrongSum) {
		return err
	}
	if err := os.Remove(d.part()); err != nil {
		return fmt.Errorf("cannot remove %s: %w", d.part(), err)
	}
	if resumed {
		// The old part was damaged, or of another release of the file.
		d.progress(0)
		return d.fetch(ctx, client)
	}
	return refuse("cannot use %s from %s: its SHA-256 is not the %s that its checksum says; the server delivers a damaged or exchanged file, so correct it there", d.what, hostOf(d.uri), d.sum)
}

// receive appends to the part until the server has no more.
func (d download) receive(ctx context.Context, client *http.Client) (resumed bool, err error) {
	file, err := os.OpenFile(d.part(), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return false, fmt.Errorf("cannot store %s: %w", d.what, err)
	}
	defer func() { _ = file.Close() }()
	have, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return false, fmt.Errorf("cannot store %s: %w", d.what, err)
	}
	ctx, watch := watched(ctx, d.stall)
	defer watch.stop()
	response, err := get(ctx, client, d.what, d.uri, have)
	if err != nil {
		return false, explain(ctx, d.what, d.uri, err, d.stall)
	}
	defer func() { _ = response.Body.Close() }()
	switch {
	case response.StatusCode == http.StatusRequestedRangeNotSatisfiable:
		// It is all there already, or too long.
		return true, nil
	case response.StatusCode == http.StatusOK || !strings.HasPrefix(response.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", have)):
		if response.StatusCode != http.StatusOK {
			return false, refuse("cannot fetch %s: %s answered with another part of the file than asked for; correct the server or the proxy", d.what, hostOf(d.uri))
		}
		have = 0
		if err := rewind(file); err != nil {
			return false, fmt.Errorf("cannot store %s: %w", d.what, err)
		}
	}
	if response.ContentLength > maxArtifact-have {
		return false, refuse("cannot use %s from %s: it has more than %s; correct the address", d.what, hostOf(d.uri), size(maxArtifact))
	}
	return have > 0, d.copy(ctx, file, watch.reader(response.Body), have)
}

func rewind(file *os.File) error {
	if err := file.Truncate(0); err != nil {
		return err
	}
	_, err := file.Seek(0, io.SeekStart)
	return err
}

// copy writes what comes, tells the progress, and stops at the bound.
func (d download) copy(ctx context.Context, file *os.File, from io.Reader, have int64) error {
	buffer := make([]byte, 256<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if have += int64(n); have > maxArtifact {
				return refuse("cannot use %s from %s: it has more than %s; correct the address", d.what, hostOf(d.uri), size(maxArtifact))
			}
			if _, err := file.Write(buffer[:n]); errors.Is(err, syscall.ENOSPC) {
				return refuse("cannot store %s: the disk is full after %s of it; free space, then try again (what has come is kept)", d.what, size(uint64(have)))
			} else if err != nil {
				return fmt.Errorf("cannot store %s: %w", d.what, err)
			}
			d.progress(uint64(have))
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return explain(ctx, d.what, d.uri, err, d.stall)
		}
	}
}

// errWrongSum says that a file is not the one that its checksum is of.
var errWrongSum = errors.New("the SHA-256 differs")

// finish verifies the part and gives it its name, so that a file of that name is
// always whole, also after a power cut.
func (d download) finish() error {
	got, err := sumOf(d.part())
	if err != nil {
		return err
	}
	if got != d.sum {
		return errWrongSum
	}
	file, err := os.OpenFile(d.part(), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("cannot store %s: %w", d.what, err)
	}
	defer func() { _ = file.Close() }()
	if err := errors.Join(file.Chmod(d.mode), file.Sync()); err != nil {
		return fmt.Errorf("cannot store %s: %w", d.what, err)
	}
	if err := os.Rename(d.part(), d.path); err != nil {
		return fmt.Errorf("cannot store %s: %w", d.what, err)
	}
	return syncDir(filepath.Dir(d.path))
}
