package command

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

const userAgent = "nodeadm/" + Version

// download names one artifact in paths and error texts.
type download struct {
	source, label, path string
}

// place downloads the artifact and its checksum, writes the file in place, and only then compares: a mismatch or an end in the
// middle leaves the bad file where it is.
func (r *run) place(ctx context.Context, a artifact, d download) error {
	body, want, err := r.open(ctx, a, d)
	if err != nil {
		return err
	}
	defer body.Close()
	return r.fill(ctx, body, want, d)
}

// open begins the download and gets the checksum.
func (r *run) open(ctx context.Context, a artifact, d download) (body io.ReadCloser, want string, err error) {
	body, err = r.fetch(ctx, a.URI)
	if err != nil {
		return nil, "", fmt.Errorf("%s: getting artifact file reader: %w", d.source, err)
	}
	if want, err = r.checksum(ctx, a.Checksum); err != nil {
		body.Close()
		return nil, "", fmt.Errorf("%s: getting artifact checksum reader: %w", d.source, err)
	}
	return body, want, nil
}

func (r *run) fill(ctx context.Context, body io.Reader, want string, d download) error {
	got, err := r.installFile(d.path, body)
	if errors.Is(err, errKill) {
		return err
	}
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			err = context.DeadlineExceeded
		}
		return fmt.Errorf("installing %s: %w", d.label, err)
	}
	if got != want {
		return fmt.Errorf("%s checksum mismatch: expected %s, got %s", d.label, want, got)
	}
	return nil
}

func (r *run) installFile(path string, src io.Reader) (sum string, err error) {
	path = r.path(path)
	if err := os.RemoveAll(path); err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o755)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if r.dying {
		if _, err := io.CopyN(f, src, cutOff); err != nil {
			return "", err
		}
		return "", r.die()
	}
	hash := sha256.New()
	if _, err := io.Copy(io.MultiWriter(f, hash), src); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

func (r *run) checksum(ctx context.Context, uri string) (string, error) {
	body, err := r.fetch(ctx, uri)
	if err != nil {
		return "", err
	}
	defer body.Close()
	raw, err := io.ReadAll(io.LimitReader(body, 4096))
	if err != nil {
		return "", err
	}
	parts := strings.Fields(string(raw))
	if len(parts) != 2 {
		return "", fmt.Errorf("checksum file %s does not hold \"<sha256>  <name>\"", uri)
	}
	return parts[0], nil
}

// fetch asks three times without a pause; a status other than 200 counts as a failure.
func (r *run) fetch(ctx context.Context, uri string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return nil, fmt.Errorf("failed creating request from url: %s: %w", uri, err)
	}
	req.Header.Set("User-Agent", userAgent)
	for range 3 {
		var resp *http.Response
		if resp, err = http.DefaultClient.Do(req); err != nil {
			continue
		}
		if resp.StatusCode == http.StatusOK {
			return resp.Body, nil
		}
		resp.Body.Close()
		err = fmt.Errorf("unexpected status code: %d", resp.StatusCode)
	}
	return nil, fmt.Errorf("failed reading file from url: %s: max retries achieved for http request: %s : %w", uri, req.Host, err)
}

// unpackCNI extracts the plugins and removes the archive; its folder stays.
func (r *run) unpackCNI(archive string) error {
	f, err := os.Open(r.path(archive))
	if err != nil {
		return err
	}
	defer f.Close()
	zr, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("unable to untar: %w", err)
	}
	for tr := tar.NewReader(zr); ; {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return os.Remove(r.path(archive))
		}
		if err != nil {
			return fmt.Errorf("unable to untar: %w", err)
		}
		name := filepath.Clean(hdr.Name)
		if hdr.Typeflag != tar.TypeReg || !filepath.IsLocal(name) {
			continue
		}
		if _, err := r.installFile(filepath.Join("/opt/cni/bin", name), tr); err != nil {
			return err
		}
	}
}
