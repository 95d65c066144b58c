package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"hybridagent/plane/manifest"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

const (
	outputTable = "table"
	outputJSON  = "json"
	outputYAML  = "yaml"
)

// output is the flag -o.
type output struct{ format string }

func (o *output) register(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.format, "output", "o", outputTable, "table, json or yaml")
}

func (o *output) check() error {
	switch o.format {
	case outputTable, outputJSON, outputYAML:
		return nil
	}
	return usageError{fmt.Errorf("--output %q is none of table, json, yaml", o.format)}
}

// write writes resources; one that was asked for by name is written alone, not
// as a list.
func (o *output) write(w io.Writer, kind string, list []*planev1.Resource, single bool) error {
	switch o.format {
	case outputJSON:
		v := any(manifest.EncodeList(list))
		if single {
			v = manifest.Encode(list[0])
		}
		b, err := manifest.JSON(v)
		if err != nil {
			return err
		}
		_, err = w.Write(b)
		return err
	case outputYAML:
		return writeYAML(w, list)
	default:
		writeTable(w, kind, list)
		return nil
	}
}

// value writes something that is no resource, as JSON or YAML.
func (o *output) value(w io.Writer, v any) error {
	encode := manifest.JSON
	if o.format == outputYAML {
		encode = manifest.YAML
	}
	b, err := encode(v)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// writeYAML writes one document for each resource, as apply reads them.
func writeYAML(w io.Writer, list []*planev1.Resource) error {
	for i, r := range list {
		b, err := manifest.YAML(manifest.Encode(r))
		if err != nil {
			return err
		}
		if i > 0 {
			b = append([]byte("---\n"), b...)
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}
