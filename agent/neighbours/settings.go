package neighbours

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// configFolders are where systemd looks for files, the first one first
// (networkd.conf(5)).
func configFolders() []string {
	return []string{"etc/systemd", "run/systemd", "usr/local/lib/systemd", "usr/lib/systemd"}
}

// foreignSettings are the settings of networkd.conf(5) that say whether networkd
// removes routes and rules of others; both default to yes.
func foreignSettings() []string {
	return []string{"ManageForeignRoutes", "ManageForeignRoutingPolicyRules"}
}

// setting is one value and the file that gives it.
type setting struct{ value, file string }

// settings are the values in force of the [Network] section, by their names. The
// main file is the first one found, drop-ins come after it in the order of their
// names, and of those with one name the first folder's counts.
func (h Host) settings() (map[string]setting, error) {
	files, err := h.configFiles()
	if err != nil {
		return nil, err
	}
	found := make(map[string]setting)
	for _, file := range files {
		data, err := os.ReadFile(h.path(file))
		if err != nil {
			return nil, fmt.Errorf("cannot read networkd's configuration: %w", err)
		}
		readSection(string(data), "Network", func(key, value string) { found[key] = setting{value, "/" + file} })
	}
	return found, nil
}

// configFiles lists networkd's global configuration files, relative to the root,
// in the order in which they count, the last one most.
func (h Host) configFiles() ([]string, error) {
	var main string
	dropIns := make(map[string]string)
	for _, folder := range configFolders() {
		if path := filepath.Join(folder, "networkd.conf"); main == "" && exists(h.path(path)) {
			main = path
		}
		paths, err := filepath.Glob(h.path(filepath.Join(folder, "networkd.conf.d", "*.conf")))
		if err != nil {
			return nil, fmt.Errorf("cannot list networkd's configuration: %w", err)
		}
		for _, path := range paths {
			name := filepath.Base(path)
			if _, seen := dropIns[name]; !seen {
				dropIns[name] = filepath.Join(folder, "networkd.conf.d", name)
			}
		}
	}
	var files []string
	if main != "" {
		files = append(files, main)
	}
	names := make([]string, 0, len(dropIns))
	for name := range dropIns {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		files = append(files, dropIns[name])
	}
	return files, nil
}

// readSection calls use for each assignment in a section of a file as of
// systemd.syntax(7).
func readSection(text, section string, use func(key, value string)) {
	inside := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[':
			inside = line == "["+section+"]"
		case inside:
			if key, value, ok := strings.Cut(line, "="); ok {
				use(strings.TrimSpace(key), strings.TrimSpace(value))
			}
		}
	}
}

// isNo reads a boolean as systemd does.
func isNo(value string) bool {
	return slices.Contains([]string{"no", "n", "false", "f", "off", "0"}, strings.ToLower(value))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// peerFile is the first .network file that gives an address a peer; empty: none.
func (h Host) peerFile() string {
	for _, folder := range configFolders() {
		paths, _ := filepath.Glob(h.path(filepath.Join(folder, "network", "*.network")))
		more, _ := filepath.Glob(h.path(filepath.Join(folder, "network", "*.network.d", "*.conf")))
		for _, path := range append(paths, more...) {
			data, err := os.ReadFile(path)
			if err != nil {
				continue
			}
			peer := false
			readSection(string(data), "Address", func(key, _ string) { peer = peer || key == "Peer" })
			if peer {
				return "/" + strings.TrimPrefix(strings.TrimPrefix(path, h.Root), "/")
			}
		}
	}
	return ""
}
