package runner

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxLine bounds one line of output, in bytes; longer ones are cut.
const maxLine = 64 << 10

// output is the file that a run writes to. A file rather than a pipe: it
// outlives hybrid-agent-op, so that the run does not die of a broken pipe.
type output struct {
	path string
	file *os.File
	rest []byte
}

// createOutput makes an empty file (0600) for a run and opens it for reading.
func createOutput(dir, id string) (*output, error) {
	path := filepath.Join(dir, id+".out")
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot remove the output of an earlier run: %w", err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot make the output file: %w", err)
	}
	return &output{path: path, file: file}, nil
}

// openOutput opens the file of a run that is under way; one that is gone counts
// as empty.
func openOutput(dir, id string) (*output, error) {
	path := filepath.Join(dir, id+".out")
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return createOutput(dir, id)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open the output file: %w", err)
	}
	return &output{path: path, file: file}, nil
}

// read hands the whole lines that have come since the last call to onLine.
func (o *output) read(onLine func(string)) error {
	buffer := make([]byte, 32<<10)
	for {
		n, err := o.file.Read(buffer)
		o.rest = append(o.rest, buffer[:n]...)
		o.lines(onLine)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot read the output: %w", err)
		}
	}
}

func (o *output) lines(onLine func(string)) {
	for {
		end := bytes.IndexByte(o.rest, '\n')
		if end < 0 && len(o.rest) <= maxLine {
			return
		}
		if end < 0 || end > maxLine {
			onLine(string(o.rest[:maxLine]))
			o.rest = o.rest[maxLine:]
			continue
		}
		onLine(strings.TrimSuffix(string(o.rest[:end]), "\r"))
		o.rest = o.rest[end+1:]
	}
}

// finish hands over what is left, without a line's end, and removes the file:
// the output may hold secrets.
func (o *output) finish(onLine func(string)) error {
	err := o.read(onLine)
	if len(o.rest) > 0 {
		onLine(string(o.rest))
		o.rest = nil
	}
	if removeErr := os.Remove(o.path); removeErr != nil && !errors.Is(removeErr, fs.ErrNotExist) {
		err = errors.Join(err, fmt.Errorf("cannot remove the output: %w", removeErr))
	}
	return errors.Join(err, o.close())
}

func (o *output) close() error { return o.file.Close() }
