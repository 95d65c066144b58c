package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// FetchChrony unpacks Debian's chrony package into build/lab/chrony of the repository, unless it is there, and returns that folder. The
// package is never installed: the machine's own time daemon stays what it is.
func FetchChrony(ctx context.Context) (string, error) {
	repo, err := Repository()
	if err != nil {
		return "", err
	}
	folder := filepath.Join(repo, "build/lab/chrony")
	if _, err := os.Stat(filepath.Join(folder, "usr/sbin/chronyd")); err == nil {
		return folder, nil
	}
	cmd := exec.CommandContext(ctx, filepath.Join(repo, "scripts/fetch-chrony.sh"), folder)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot fetch chrony for the lab's time server: %w: %s", err, out)
	}
	return folder, nil
}

// Repository is the folder of the repository that holds the working folder.
func Repository() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for folder := start; ; folder = filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder, nil
		}
		if folder == filepath.Dir(folder) {
			return "", fmt.Errorf("cannot find the repository above %s: no go.mod", start)
		}
	}
}

// StartChrony starts a real chronyd on the site's time server. With -x it never touches a clock; it serves the machine's time as stratum 1.
func (s *Site) StartChrony(unpacked string) (*Process, error) {
	h := s.Host("ntp")
	config := fmt.Sprintf("local stratum 1\nallow all\ncmdport 0\nbindcmdaddress /\npidfile %s/chronyd.pid\n", h.Folder)
	path := filepath.Join(h.Folder, "chrony.conf")
	if err := os.WriteFile(path, []byte(config), 0o644); err != nil {
		return nil, fmt.Errorf("cannot configure chronyd: %w", err)
	}
	cmd := h.Command(context.Background(), filepath.Join(unpacked, "usr/sbin/chronyd"), "-x", "-d", "-u", "root", "-f", path)
	if libs, _ := filepath.Glob(filepath.Join(unpacked, "usr/lib/*-linux-gnu*")); len(libs) > 0 {
		cmd.Env = append(cmd.Env, "LD_LIBRARY_PATH="+libs[0])
	}
	return h.Start("chronyd", cmd)
}
