package ospack

import "fmt"

// Cause says why a digest could not be had.
type Cause int

// The causes.
const (
	// Failed: the registry answered something that it should not.
	Failed Cause = iota
	// Unreachable: no answer came from the registry.
	Unreachable
	// Unknown: the registry has no such tag or repository.
	Unknown
	// Unauthorised: the registry does not let the plane read the image.
	Unauthorised
	// Throttled: the registry wants fewer questions.
	Throttled
	// NotTLS: the registry offers no TLS.
	NotTLS
	// NotAnImage: the image's name or digest cannot be used.
	NotAnImage
)

// ResolveError is why a tag has no digest; Error names the next action.
type ResolveError struct {
	// Image as it was asked for.
	Image string
	// Registry that was asked; empty: none was.
	Registry string
	// Cause sorts the error.
	Cause Cause
	// Err is what happened.
	Err error
}

// Passing reports whether asking again later may help without a change by
// anybody.
func (e *ResolveError) Passing() bool {
	return e.Cause == Unreachable || e.Cause == Throttled || e.Cause == Failed
}

// Unwrap returns what happened.
func (e *ResolveError) Unwrap() error { return e.Err }

// Error says what is wrong and what to do.
func (e *ResolveError) Error() string {
	switch e.Cause {
	case Unreachable:
		return fmt.Sprintf("cannot resolve image %s: registry %s cannot be reached: %v; check its name and certificate, and that the plane has a way there", e.Image, e.Registry, e.Err)
	case Unknown:
		return fmt.Sprintf("cannot resolve image %s: registry %s has no such image or tag; push the image, or correct the options of the OS pack: %v", e.Image, e.Registry, e.Err)
	case Unauthorised:
		return fmt.Sprintf("cannot resolve image %s: registry %s does not let the plane read it; log in as the plane's user (docker login %s), or give the image's reader rights: %v", e.Image, e.Registry, e.Registry, e.Err)
	case Throttled:
		return fmt.Sprintf("cannot resolve image %s: registry %s asks for fewer requests; try again later, or log in: %v", e.Image, e.Registry, e.Err)
	case NotTLS:
		return fmt.Sprintf("cannot resolve image %s: registry %s does not speak TLS; give it a certificate, or allow plain HTTP: %v", e.Image, e.Registry, e.Err)
	case NotAnImage:
		return fmt.Sprintf("cannot resolve image %s: %v; write registry/repository:tag", e.Image, e.Err)
	default:
		return fmt.Sprintf("cannot resolve image %s: registry %s failed: %v; look at the registry's log", e.Image, e.Registry, e.Err)
	}
}
