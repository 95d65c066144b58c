package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	"hybridagent/plane/manifest"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// maxFileBytes bounds a file of resources.
const maxFileBytes = 4 << 20

func newApply(g *globals) *cobra.Command {
	var files []string
	cmd := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Make or change resources from files",
		Long: `Make or change the resources of files: all of them or, when one is refused,
none. A file may hold several documents, parted by lines of ---; a document may
refer to one before it.`,
		Example: "  hybridctl apply -f site.yaml\n  cat site.yaml | hybridctl apply -f -",
		Args:    usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(files) == 0 {
				return usageError{errors.New("-f is missing: the file to apply, or - for standard input")}
			}
			docs, err := readFiles(cmd.InOrStdin(), files)
			if err != nil {
				return err
			}
			return g.call(cmd.Context(), func(ctx context.Context, c planev1.PlaneServiceClient) error {
				return apply(ctx, c, docs, cmd.OutOrStdout())
			})
		},
	}
	cmd.Flags().StringArrayVarP(&files, "filename", "f", nil, "file to apply, - for standard input; may be given several times")
	return cmd
}

func readFiles(in io.Reader, files []string) ([]*manifest.Document, error) {
	var docs []*manifest.Document
	var errs manifest.Errors
	for _, name := range files {
		data, shown, err := readFile(in, name)
		if err != nil {
			return nil, err
		}
		more, err := manifest.Decode(shown, data)
		var bad manifest.Errors
		if errors.As(err, &bad) {
			errs = append(errs, bad...)
		}
		docs = append(docs, more...)
	}
	if len(errs) > 0 {
		return nil, notApplied(errs)
	}
	if len(docs) == 0 {
		return nil, fmt.Errorf("%s holds no resource", strings.Join(files, ", "))
	}
	return docs, nil
}

func readFile(in io.Reader, name string) (data []byte, shown string, err error) {
	shown = name
	if name == "-" {
		shown = "standard input"
	} else {
		f, err := os.Open(name)
		if err != nil {
			return nil, "", fmt.Errorf("cannot read %s: %w", name, errors.Unwrap(err))
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	data, err = io.ReadAll(io.LimitReader(in, maxFileBytes+1))
	if err != nil {
		return nil, "", fmt.Errorf("cannot read %s: %w", shown, err)
	}
	if len(data) > maxFileBytes {
		return nil, "", fmt.Errorf("cannot read %s: it has more than %d bytes", shown, maxFileBytes)
	}
	return data, shown, nil
}

func notApplied(errs manifest.Errors) error {
	return fmt.Errorf("nothing was applied\n%w", errs)
}

func apply(ctx context.Context, c planev1.PlaneServiceClient, docs []*manifest.Document, out io.Writer) error {
	req := &planev1.ApplyBatchRequest{}
	for _, d := range docs {
		req.Resources = append(req.Resources, d.Resource)
	}
	resp, err := c.ApplyBatch(ctx, req)
	if err != nil {
		return placed(plain(err), docs)
	}
	for _, r := range resp.GetResults() {
		name := r.GetResource().GetMetadata().GetName()
		if p := r.GetResource().GetHybridProfile(); p != nil {
			name += "@" + p.GetVersion()
		}
		outcome := strings.ToLower(strings.TrimPrefix(r.GetOutcome().String(), "APPLY_OUTCOME_"))
		fmt.Fprintf(out, "%s %s %s\n", r.GetResource().GetKind(), name, outcome)
	}
	return nil
}

// placed puts file, line and column before what the plane has against a field.
func placed(err error, docs []*manifest.Document) error {
	st, ok := asRefusal(err)
	if !ok {
		return err
	}
	var errs manifest.Errors
	for _, detail := range st.Details() {
		bad, ok := detail.(*errdetails.BadRequest)
		if !ok {
			continue
		}
		for _, v := range bad.GetFieldViolations() {
			doc, path := locate(v.GetField(), docs)
			if doc == nil {
				return err
			}
			errs = append(errs, fmt.Sprintf("%s: %s of %s %s: %s", doc.Where(path), path,
				doc.Resource.GetKind(), doc.Resource.GetMetadata().GetName(), v.GetDescription()))
		}
	}
	if len(errs) == 0 {
		return fmt.Errorf("nothing was applied: %w", err)
	}
	return notApplied(errs)
}

// locate splits resources[INDEX].PATH.
func locate(field string, docs []*manifest.Document) (*manifest.Document, string) {
	rest, ok := strings.CutPrefix(field, "resources[")
	if !ok {
		return nil, ""
	}
	number, path, ok := strings.Cut(rest, "].")
	if !ok {
		return nil, ""
	}
	i, err := strconv.Atoi(number)
	if err != nil || i < 0 || i >= len(docs) {
		return nil, ""
	}
	return docs[i], path
}
