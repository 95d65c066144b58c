package command

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Files of the state partition (kairos-agent pkg/constants/constants.go: RunningStateDir, ActiveImgFile, PassiveImgFile,
// TransitionImgFile).
const (
	stateDir   = "run/initramfs/cos-state"
	active     = stateDir + "/cOS/active.img"
	passive    = stateDir + "/cOS/passive.img"
	transition = stateDir + "/cOS/transition.img"
	grubEnv    = stateDir + "/boot_assessment"
)

// Layout of an image file: an ext superblock, whose UUID mke2fs makes at random (kairos-agent pkg/elemental/elemental.go,
// CreateFileSystemImage), with its label, and behind it the reference that it was made from.
const (
	superblock = 1024
	magicAt    = superblock + 0x38
	uuidAt     = superblock + 0x68
	labelAt    = superblock + 0x78
	labelBytes = 16
	nameAt     = 2048
)

func (h *Host) path(name string) string { return filepath.Join(h.Root, name) }

// makeImage writes a new file system with a label.
func (h *Host) makeImage(name, label, ref string) error {
	content := make([]byte, nameAt, nameAt+len(ref))
	binary.LittleEndian.PutUint16(content[magicAt:], 0xEF53)
	if _, err := rand.Read(content[uuidAt : uuidAt+16]); err != nil {
		return err
	}
	copy(content[labelAt:labelAt+labelBytes], label)
	return h.write(name, append(content, ref...))
}

func (h *Host) write(name string, content []byte) error {
	path := h.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}

// relabel is tune2fs -L, which writes the file in place and keeps its UUID.
func (h *Host) relabel(name, label string) error {
	file, err := os.OpenFile(h.path(name), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	text := make([]byte, labelBytes)
	copy(text, label)
	_, err = file.WriteAt(text, labelAt)
	return err
}

// refOf is the reference that an image was made from.
func refOf(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if len(content) < nameAt {
		return "", fmt.Errorf("%s is no image", path)
	}
	return string(content[nameAt:]), nil
}

// bootedSlot is kairos-sdk state/state.go, DetectBootWithVFS.
func (h *Host) bootedSlot() string {
	cmdline, _ := os.ReadFile(h.path("proc/cmdline"))
	for slot, mark := range map[string]string{"active": "COS_ACTIVE", "passive": "COS_PASSIVE", "recovery": "COS_SYSTEM"} {
		if strings.Contains(string(cmdline), mark) {
			return slot
		}
	}
	return ""
}

// Installed makes a host that was installed from an image: active and passive are the same (elemental: passive is copied from
// active), no boot assessment is under way.
func (h *Host) Installed(ref string) error {
	if err := h.makeImage(active, "COS_ACTIVE", ref); err != nil {
		return err
	}
	content, err := os.ReadFile(h.path(active))
	if err != nil {
		return err
	}
	if err := h.write(passive, content); err != nil {
		return err
	}
	return h.relabel(passive, "COS_PASSIVE")
}

// Tune2fs is tune2fs -L LABEL FILE.
func (h *Host) Tune2fs(args []string) int {
	if len(args) != 3 || args[0] != "-L" {
		h.say("this stand-in plays no tune2fs %s", strings.Join(args, " "))
		return 1
	}
	name, err := filepath.Rel(h.Root, args[2])
	if err == nil {
		err = h.relabel(name, args[1])
	}
	if err != nil {
		h.say("tune2fs: %v", err)
		return 1
	}
	return 0
}
