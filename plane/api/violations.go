package api

import (
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// violations gathers everything that is wrong with a resource, so that an
// operator sees it at once. Paths are those of the YAML document.
type violations struct {
	list []*errdetails.BadRequest_FieldViolation
}

func (v *violations) add(path, format string, args ...any) {
	v.list = append(v.list, &errdetails.BadRequest_FieldViolation{Field: path, Description: fmt.Sprintf(format, args...)})
}

// check adds an error, if there is one.
func (v *violations) check(path string, err error) {
	if err != nil {
		v.add(path, "%v", err)
	}
}

// err is the gRPC status that names every violation, in words and as details.
func (v *violations) err(what string) error {
	if len(v.list) == 0 {
		return nil
	}
	lines := make([]string, 0, len(v.list))
	for _, f := range v.list {
		lines = append(lines, f.GetField()+": "+f.GetDescription())
	}
	st := status.New(codes.InvalidArgument, what+" is not valid: "+strings.Join(lines, "; "))
	if with, err := st.WithDetails(&errdetails.BadRequest{FieldViolations: v.list}); err == nil {
		st = with
	}
	return st.Err()
}
