package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// snapshot prints a line for each file: what a change of any kind would change.
// Folders show no times: a file that came and went again is none of theirs.
func snapshot(dirs []string) {
	for _, dir := range dirs {
		must(filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if os.IsNotExist(err) {
				return nil
			}
			must(err)
			var stat unix.Stat_t
			if unix.Lstat(path, &stat) != nil {
				return nil
			}
			line := fmt.Sprintf("%s %o %d:%d", path, stat.Mode, stat.Uid, stat.Gid)
			switch {
			case entry.Type()&fs.ModeSymlink != 0:
				target, _ := os.Readlink(path)
				line += " " + target
			case entry.Type().IsRegular():
				line += fmt.Sprintf(" %d %d.%d %x", stat.Size, stat.Ctim.Sec, stat.Ctim.Nsec, hash(path))
			}
			fmt.Println(line)
			return nil
		}))
	}
}

func hash(path string) []byte {
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer func() { _ = file.Close() }()
	sum := sha256.New()
	_, _ = io.Copy(sum, file)
	return sum.Sum(nil)[:8]
}
