package api

import (
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// maxViolationBytes bounds the words on one field.
const maxViolationBytes = 1024

// violations gathers everything that is wrong with resources, so that an
// operator sees it at once. Paths are those of the YAML document.
type violations struct {
	// prefix and subject of the resource under way: what precedes its paths, and
	// its name in words.
	prefix  string
	subject string

	list  []*errdetails.BadRequest_FieldViolation
	words []string
}

func (v *violations) add(path, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if len(text) > maxViolationBytes { // quotes something that is too large itself
		text = strings.ToValidUTF8(text[:maxViolationBytes], "") + "…"
	}
	v.list = append(v.list, &errdetails.BadRequest_FieldViolation{Field: v.prefix + path, Description: text})
	v.words = append(v.words, v.subject+": "+path+": "+text)
}

// check adds an error, if there is one.
func (v *violations) check(path string, err error) {
	if err != nil {
		v.add(path, "%v", err)
	}
}

// bytes bounds a text.
func (v *violations) bytes(path, text string, most int) {
	if len(text) > most {
		v.add(path, "has %d bytes, at most %d are allowed", len(text), most)
	}
}

// err is the gRPC status that names every violation, in words and as details.
func (v *violations) err() error {
	if len(v.list) == 0 {
		return nil
	}
	st := status.New(codes.InvalidArgument, strings.Join(v.words, "; "))
	if with, err := st.WithDetails(&errdetails.BadRequest{FieldViolations: v.list}); err == nil {
		st = with
	}
	return st.Err()
}
