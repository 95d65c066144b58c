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

// maxOutput bounds an output file, in bytes: it lies in memory (/run), and what
// was read of it is of no more use.
const maxOutput = 8 << 20

// maxRead bounds what one look at the output takes, in bytes, so that a program
// that writes without end does not keep its deadline from being seen.
const maxRead = 1 << 20

// outputSuffix ends the names of output files; the run's ID is before it.
const outputSuffix = ".out"

// output is the file that a run writes to. A file rather than a pipe: it
// outlives hybrid-agent-op, so that the run does not die of a broken pipe.
type output struct {
	path string
	file *os.File
	// offset is how far the file was read.
	offset int64
	rest   []byte
}

// createOutput makes an empty file (0600) for a run and opens it for reading, and
// for writing at its end, wherever that is after the file was emptied.
func createOutput(dir, id string) (*output, error) {
	path := outputPath(dir, id)
	if err := removeOutput(path); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR|os.O_APPEND, 0o600)
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

// read hands whole lines that have come since the last call to onLine, and
// empties the file when it has become too long.
func (o *output) read(onLine func(string)) error {
	if err := o.take(maxRead, onLine); err != nil {
		return err
	}
	info, err := o.file.Stat()
	if err != nil {
		return fmt.Errorf("cannot read the output: %w", err)
	}
	if info.Size() < maxOutput {
		return nil
	}
	if err := os.Truncate(o.path, 0); err != nil {
		return fmt.Errorf("cannot bound the output: %w", err)
	}
	if _, err := o.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("cannot bound the output: %w", err)
	}
	if lost := info.Size() - o.offset; lost > 0 {
		o.rest = nil
		onLine(fmt.Sprintf("(about %d bytes of output were written too fast to be kept)", lost))
	}
	o.offset = 0
	return nil
}

// take reads to the end, but no more than about this many bytes.
func (o *output) take(limit int, onLine func(string)) error {
	buffer := make([]byte, 32<<10)
	for taken := 0; taken < limit; {
		n, err := o.file.Read(buffer)
		taken += n
		o.offset += int64(n)
		o.rest = append(o.rest, buffer[:n]...)
		o.lines(onLine)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot read the output: %w", err)
		}
	}
	return nil
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
	err := o.take(maxOutput, onLine)
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
