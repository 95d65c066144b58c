package nodeapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"
)

// Errors that a caller tells apart with errors.Is.
var (
	// ErrNoKubeconfig says that the host was never initialised.
	ErrNoKubeconfig = errors.New("there is no kubeconfig: this host was never initialised as a node")
	// ErrNoNode says that kubelet has not registered the Node yet.
	ErrNoNode = errors.New("the Kubernetes API knows no Node of this name")
	// ErrUnreachable says that the API did not take the request, so that nothing
	// was learnt and, but for a timeout, nothing changed. The error is an
	// *UnreachableError, which names the cause.
	ErrUnreachable = errors.New("the Kubernetes API cannot be reached")
)

// Cause says why the API cannot be reached.
type Cause string

// The causes, from the name of the server to who asks it.
const (
	// CauseDNS: the server's name has no address.
	CauseDNS Cause = "dns"
	// CauseRefused: nothing listens at the address.
	CauseRefused Cause = "refused"
	// CauseTimeout: no answer in time.
	CauseTimeout Cause = "timeout"
	// CauseNetwork: no way there, or the connection was cut.
	CauseNetwork Cause = "network"
	// CauseTLS: the server is not the one that the kubeconfig trusts, or the clock
	// is off.
	CauseTLS Cause = "tls"
	// CauseCredentials: the program that the kubeconfig names gave none.
	CauseCredentials Cause = "credentials"
	// CauseUnauthorized: the server does not accept the credentials.
	CauseUnauthorized Cause = "unauthorized"
)

// action is what an operator does about it.
func (c Cause) action() string {
	switch c {
	case CauseDNS:
		return "check the host's DNS servers and that they are reached through the VPN"
	case CauseRefused:
		return "check the API endpoint's address and port, and whether the API server runs"
	case CauseTimeout, CauseNetwork:
		return "check the route to the VPC CIDR, the VPN, and the security group of the cluster's API endpoint (TCP 443)"
	case CauseTLS:
		return "check the host's clock, and that no proxy on the way replaces certificates"
	case CauseCredentials:
		return "check the node's AWS credentials (Systems Manager or IAM Roles Anywhere) and the way to AWS"
	default:
		return "check that the node's IAM role has an EKS access entry of type HYBRID_LINUX, and the host's clock"
	}
}

// UnreachableError is an error for which errors.Is(err, ErrUnreachable) holds.
type UnreachableError struct {
	// Server is the API server's address.
	Server string
	// Cause says what is wrong.
	Cause Cause
	// Err is what was seen.
	Err error
}

// Error names the server, what was seen and the next action.
func (e *UnreachableError) Error() string {
	return fmt.Sprintf("cannot reach the Kubernetes API at %s (%s): %v; %s", e.Server, e.Cause, e.Err, e.Cause.action())
}

// Unwrap returns what was seen.
func (e *UnreachableError) Unwrap() error { return e.Err }

// Is reports whether target is ErrUnreachable.
func (e *UnreachableError) Is(target error) bool { return target == ErrUnreachable }

// unreachable finds the cause of a request without an answer. That the caller's
// own time is over, or that it gave up, says nothing of the server.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return &UnreachableError{Server: c.server, Cause: causeOf(err), Err: err}
}

func causeOf(err error) Cause {
	var (
		dns     *net.DNSError
		verify  *tls.CertificateVerificationError
		unknown x509.UnknownAuthorityError
		record  tls.RecordHeaderError
		alert   tls.AlertError
		timeout interface{ Timeout() bool }
	)
	switch {
	// client-go gives its own errors of the credentials' program only this text.
	case strings.Contains(err.Error(), "getting credentials: "):
		return CauseCredentials
	case errors.As(err, &dns):
		return CauseDNS
	case errors.As(err, &verify), errors.As(err, &unknown), errors.As(err, &record), errors.As(err, &alert):
		return CauseTLS
	case errors.Is(err, syscall.ECONNREFUSED):
		return CauseRefused
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return CauseTimeout
	default:
		return CauseNetwork
	}
}

// StatusCause is one reason of an answer that is not of success.
type StatusCause struct {
	// Reason is a word for programs, for example DisruptionBudget.
	Reason string `json:"reason"`
	// Message is a sentence for people.
	Message string `json:"message"`
}

// StatusError is an answer of the API server that is not of success.
type StatusError struct {
	// Code is the HTTP status.
	Code int
	// Reason is the API's word for it, for example Conflict; empty: the answer was
	// not the API server's own.
	Reason string
	// Message is what was answered.
	Message string
	// Causes are the reasons in detail.
	Causes []StatusCause
	// RetryAfter is when to try again; 0: not said.
	RetryAfter time.Duration
}

// Error is the answer in words.
func (e *StatusError) Error() string {
	message := fmt.Sprintf("the API server answered %d %s: %s", e.Code, http.StatusText(e.Code), e.Message)
	for _, cause := range e.Causes {
		if cause.Message != "" && !strings.Contains(e.Message, cause.Message) {
			message += " (" + cause.Message + ")"
		}
	}
	return message
}

// hasCode tells an answer of that HTTP status.
func hasCode(err error, code int) bool {
	var status *StatusError
	return errors.As(err, &status) && status.Code == code
}

// shorten is the start of an answer that is not what was expected.
func shorten(body []byte) string {
	return strings.ToValidUTF8(string(body[:min(len(body), 200)]), "")
}
