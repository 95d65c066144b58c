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

// outputSuffix ends the names of output files; the run's ID is before it.
const outputSuffix = ".out"

// output is the file that a run writes to. A file rather than a pipe: it
// outlives hybrid-agent-op, so that the run does not die of a broken pipe.
type output struct {
	path string
	file *os.File
	rest []byte
}

// createOutput makes an empty file (0600) for a run and opens it for reading.
func createOutput(dir, id string) (*output, error) {
	path := outputPath(dir, id)
	if err := removeOutput(path); err != nil {
		return nil, err
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
	path := outputPath(dir, id)
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

// finish hands over what is left, without a line's end, and removes the file if
// its run has ended: the output may hold secrets, but a file that is there is
// how a run that could not be ended is known.
func (o *output) finish(onLine func(string), ended bool) error {
	err := o.read(onLine)
	if len(o.rest) > 0 {
		onLine(string(o.rest))
		o.rest = nil
	}
	if ended {
		err = errors.Join(err, removeOutput(o.path))
	}
	return errors.Join(err, o.close())
}

func removeOutput(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove the output of a run: %w", err)
	}
	return nil
}

// unfinished lists the IDs of the runs that have output.
func unfinished(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot list the output of runs: %w", err)
	}
	var ids []string
	for _, entry := range entries {
		if id, ok := strings.CutSuffix(entry.Name(), outputSuffix); ok {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

func outputPath(dir, id string) string { return filepath.Join(dir, id+outputSuffix) }

func (o *output) close() error { return o.file.Close() }
