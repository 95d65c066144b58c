package operation

import (
	"regexp"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Bounds of what the daemon may ask for, as door.proto says.
const (
	maxLabels          = 64
	maxLabelKeyBytes   = 317
	maxLabelValueBytes = 63
)

// The forms of labels (kubernetes.io/docs/concepts/overview/working-with-objects/labels).
var (
	labelKeyPattern   = regexp.MustCompile(`^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$`)
	labelValuePattern = regexp.MustCompile(`^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$`)
)

// CheckForecast checks what a forecast is asked for; the error is a *Refusal.
// Nobody signed it: whoever makes the forecast must change nothing for it.
func CheckForecast(request *agentv1.ForecastRequest) error {
	if err := checkDrain("the forecast", request.GetDrain()); err != nil {
		return err
	}
	switch request.GetKind() {
	case agentv1.OperationKind_OPERATION_KIND_PROVISION,
		agentv1.OperationKind_OPERATION_KIND_REPAVE,
		agentv1.OperationKind_OPERATION_KIND_RECONFIGURE:
		return checkNodePart("the forecast", request.GetNode(), request.GetNodeDigest(), request.GetNodeIp())
	case agentv1.OperationKind_OPERATION_KIND_LEAVE:
		if request.GetNode() != nil {
			return Refuse(malformed, "a leave carries no node part: what is on the host is taken off")
		}
		return nil
	default:
		return Refuse(malformed, "there is no forecast for operations of kind %s", KindName(request.GetKind()))
	}
}

// CheckLabels checks the labels that a Node is to have; the error is a *Refusal.
// Which of them a node may set is not judged here.
func CheckLabels(labels map[string]string) error {
	if len(labels) > maxLabels {
		return Refuse(malformed, "%d labels are more than %d", len(labels), maxLabels)
	}
	for key, value := range labels {
		if len(key) > maxLabelKeyBytes || !labelKeyPattern.MatchString(key) {
			return Refuse(malformed, "%q is no label key", clipped(key, 128))
		}
		if len(value) > maxLabelValueBytes || !labelValuePattern.MatchString(value) {
			return Refuse(malformed, "%q is no value for label %s", clipped(value, 128), key)
		}
	}
	return nil
}

// CheckLocal checks what local root may have run without a signature; the error is
// a *Refusal.
func CheckLocal(request *agentv1.SubmitLocalRequest) error {
	switch request.GetKind() {
	case agentv1.OperationKind_OPERATION_KIND_REPAVE, agentv1.OperationKind_OPERATION_KIND_LEAVE:
		return nil
	default:
		return Refuse(malformed, "local root may ask for a repair (repave of what is in force) or a leave, not for %q", KindName(request.GetKind()))
	}
}
