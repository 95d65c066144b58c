package identity

import (
	"errors"
	"fmt"
)

// Reasons of an Error, as they show in the condition Registered.
const (
	ReasonPlaneUnreachable = "PlaneUnreachable"
	ReasonWrongCAPin       = "WrongCAPin"
	ReasonWrongServer      = "WrongServerCertificate"
	ReasonClockWrong       = "ClockWrong"
	ReasonTokenMissing     = "TokenMissing"
	ReasonTokenUnknown     = "TokenUnknown"
	ReasonTokenRefused     = "TokenRefused"
	ReasonHostIDTaken      = "HostIDTaken"
	ReasonRequestRefused   = "RequestRefused"
	ReasonBadAnswer        = "BadAnswer"
)

// Error says why the host has no identity or cannot use it. Find it with
// errors.As.
type Error struct {
	// Reason is one of the Reason… constants.
	Reason string
	// Err says what happened, with the next action after a semicolon.
	Err error
}

// Error returns what happened.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func failure(reason, format string, args ...any) *Error {
	return &Error{Reason: reason, Err: fmt.Errorf(format, args...)}
}

// ReasonOf returns the reason of an error, or fallback where it has none.
func ReasonOf(err error, fallback string) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return fallback
}
