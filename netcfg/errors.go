package netcfg

import (
	"errors"
	"fmt"
	"strings"
)

// Paths of the assignment's fields that a FieldError can carry. Those of lists are
// followed by the index of the value, as in network.vpc_cidrs[1].
const (
	FieldNIC        = "network.nic"
	FieldVPCCIDRs   = "network.vpc_cidrs"
	FieldVPNServers = "network.vpn_servers"
)

// FieldError says why one value of an assignment cannot be applied on this host.
// It is found with errors.As; FieldErrors lists all that an error holds.
type FieldError struct {
	// Field is a Field… constant, with an index where it is a list's value.
	Field string
	// Code is one of the codes of this package (NICUnknown, VPNServerNotOnLink, …):
	// what is wrong, in a word for programs.
	Code string
	// Value is the refused value as the operator wrote it.
	Value string
	// Reason says what is wrong, without a final stop.
	Reason string
	// Action is the next step for an operator, without a final stop.
	Action string
}

// Error gives field, value, reason and next action in one line.
func (e *FieldError) Error() string {
	text := fmt.Sprintf("cannot use %s %s: %s", e.noun(), e.Value, e.Reason)
	if e.Action != "" {
		text += "; " + e.Action
	}
	return text
}

// noun is what people call the field.
func (e *FieldError) noun() string {
	switch {
	case e.Field == FieldNIC:
		return "NIC"
	case strings.HasPrefix(e.Field, FieldVPNServers):
		return "VPN server"
	case strings.HasPrefix(e.Field, FieldVPCCIDRs):
		return "VPC CIDR"
	}
	return e.Field
}

// SelectionError says that no NIC could be selected and holds every candidate
// with its reasons. It wraps a FieldError.
type SelectionError struct {
	Refusal FieldError
	// Candidates are all links of the host.
	Candidates []Candidate
	// Meant is the candidate that ought to have been selected: the named one, else
	// the one selected before, else the one that lacks least. A link that is not on
	// the host has a name or MAC only. Without a name and MAC there is none.
	Meant Candidate
}

// Code says in a word what is wrong: a NIC… code or OutsideRemoteNodeCIDRs.
func (e *SelectionError) Code() string { return e.Refusal.Code }

// namedLinks bounds how many links a refusal names where some of them can be no
// NIC: a node has one for each pod.
const namedLinks = 16

// Error gives the refusal, then each candidate with its reasons, on one line. Of
// many ports and containers' links it gives the first ones and the number of the
// rest.
func (e *SelectionError) Error() string {
	var parts []string
	rest := 0
	for _, hopeless := range []bool{false, true} {
		for _, c := range e.Candidates {
			switch {
			case hopeless != (c.Code == NICUnusable || c.Code == NICEnslaved):
			case hopeless && len(parts) >= namedLinks:
				rest++
			default:
				parts = append(parts, c.String())
			}
		}
	}
	if rest > 0 {
		parts = append(parts, fmt.Sprintf("and %d ports or links of containers", rest))
	}
	list := "none"
	if len(parts) > 0 {
		list = strings.Join(parts, "; ")
	}
	return fmt.Sprintf("%s (candidates: %s)", e.Refusal.Error(), list)
}

// Unwrap gives the FieldError to errors.As.
func (e *SelectionError) Unwrap() error { return &e.Refusal }

// FieldErrors returns every FieldError inside err, in order, through wrapped and
// joined errors; nil if there is none.
func FieldErrors(err error) []*FieldError {
	if err == nil {
		return nil
	}
	if fe, ok := err.(*FieldError); ok { //nolint:errorlint // the tree is walked below
		return []*FieldError{fe}
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // as above
		var all []*FieldError
		for _, e := range joined.Unwrap() {
			all = append(all, FieldErrors(e)...)
		}
		return all
	}
	return FieldErrors(errors.Unwrap(err))
}
