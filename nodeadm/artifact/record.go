package artifact

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"hybridagent/nodeadm"
)

// recordFile tells that everything of a version is there; it is written last.
const recordFile = "staged.json"

// recordSchema is raised when the record changes its meaning; an unknown one
// counts as not staged.
const recordSchema = 1

// ErrNotStaged says that a version is not staged, not for this Region, provider
// and architecture, or damaged.
var ErrNotStaged = errors.New("the artifacts are not staged")

// folderMark parts version, Region and provider in the name of a folder.
const folderMark = "_"

// versionForm and regionForm are of what a folder's name is made.
var (
	versionForm = regexp.MustCompile(`^[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}$`)
	regionForm  = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)
)

// record is what staged.json holds.
type record struct {
	Schema   int      `json:"schema"`
	Version  string   `json:"version"`
	Region   string   `json:"region"`
	Provider string   `json:"provider"`
	Arch     string   `json:"arch"`
	Files    []stored `json:"files"`
	// Manifest is the manifest that the artifacts are from, as it was fetched.
	Manifest []byte `json:"manifest"`
	// Port is where they were served last.
	Port int `json:"port,omitempty"`
}

// stored is one artifact on disk.
type stored struct {
	Name   string `json:"name"`
	File   string `json:"file"`
	SHA256 string `json:"sha256"`
	Size   uint64 `json:"size"`
}

func (r record) write(dir string) error {
	r.Schema = recordSchema
	content, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("cannot record what is staged: %w", err)
	}
	return write(filepath.Join(dir, recordFile), content)
}

// Open returns what is staged for the options' node part without asking anybody:
// every file is verified once more. That is the way back to a former version.
// ErrNotStaged where it is not all there.
func Open(opt Options) (Staged, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return Staged{}, err
	}
	folder := opt.folder()
	content, err := os.ReadFile(filepath.Join(folder, recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Staged{}, fmt.Errorf("cannot use Kubernetes %s: %w", opt.Spec.GetKubernetesVersion(), ErrNotStaged)
	}
	if err != nil {
		return Staged{}, fmt.Errorf("cannot read what is staged: %w", err)
	}
	var r record
	if err := json.Unmarshal(content, &r); err != nil || r.Schema != recordSchema {
		return Staged{}, fmt.Errorf("cannot use Kubernetes %s: its record cannot be read: %w", opt.Spec.GetKubernetesVersion(), ErrNotStaged)
	}
	if r.Version != opt.Spec.GetKubernetesVersion() || r.Region != opt.Spec.GetRegion() || r.Provider != nodeadm.Provider(opt.Spec) || r.Arch != opt.Arch {
		return Staged{}, fmt.Errorf("cannot use Kubernetes %s of %s with %s: %w", r.Version, r.Region, r.Provider, ErrNotStaged)
	}
	staged := Staged{Dir: folder, Version: r.Version, record: r}
	return staged, staged.verify()
}

// verify reads every file: a power cut may have left one that is cut off.
func (s Staged) verify() error {
	for _, one := range s.record.Files {
		if !fileForm.MatchString(one.File) {
			return fmt.Errorf("cannot use %q: %w", one.File, ErrNotStaged)
		}
		sum, err := sumOf(filepath.Join(s.Dir, one.File))
		if errors.Is(err, fs.ErrNotExist) || err == nil && sum != one.SHA256 {
			return fmt.Errorf("cannot use %s: it is missing or damaged: %w", one.File, ErrNotStaged)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
