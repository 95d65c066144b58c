package journal

import (
	"errors"
	"os"
)

// appendDurably adds to a file that exists; its size is metadata that fsync
// covers, so the directory needs no sync. When the disk is full, what was
// written of the content is taken back: a later record behind a torn one would
// never be read.
func appendDurably(path string, content []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if _, err := file.Write(content); err != nil {
		return errors.Join(err, file.Truncate(info.Size()))
	}
	return file.Sync()
}

// truncate drops the end of a file.
func truncate(path string, size int64) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	if err := file.Truncate(size); err != nil {
		return err
	}
	return file.Sync()
}
