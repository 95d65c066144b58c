package operation

import (
	"fmt"
	"strings"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// maxRefusalBytes bounds the text of a refusal, as door.proto says.
const maxRefusalBytes = 1024

// Refusal is a request that was not carried out: nothing was changed. Find it
// with errors.As.
type Refusal struct {
	// Reason is for programs.
	Reason agentv1.DoorRefusalReason
	// Message is for people and names the next action where there is one.
	Message string
}

// Error returns the message.
func (r *Refusal) Error() string { return r.Message }

// Refuse returns a Refusal with a formatted message.
func Refuse(reason agentv1.DoorRefusalReason, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Message: clip(fmt.Sprintf(format, args...))}
}

// Proto returns the refusal as the door sends it.
func (r *Refusal) Proto() *agentv1.DoorRefusal {
	return &agentv1.DoorRefusal{Reason: r.Reason, Message: clip(r.Message)}
}

// refusalOf reads a refusal from the door.
func refusalOf(refusal *agentv1.DoorRefusal) *Refusal {
	return &Refusal{Reason: refusal.GetReason(), Message: clip(refusal.GetMessage())}
}

// clip bounds a text and keeps it valid UTF-8: protobuf refuses other strings.
func clip(text string) string {
	if len(text) > maxRefusalBytes {
		text = text[:maxRefusalBytes]
	}
	return strings.ToValidUTF8(text, "")
}
