package floor

import (
	"errors"
	"os"
)

// AppendDurably makes bytes at the end of a file that exists durable, and the file's
// place in its folder as well: write, fsync of the file, fsync of the folder.
func AppendDurably(folder, path string, line []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = file.Write(line)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
