package agent

import (
	"context"
	"strings"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Door is hybrid-agent-op as the daemon sees it: operation.Client. A refusal
// comes as *operation.Refusal.
type Door interface {
	Submit(ctx context.Context, env *agentv1.SignedOperation, onProgress func(*agentv1.OperationProgress)) (*agentv1.OperationProgress, error)
	Follow(ctx context.Context, id string, onProgress func(*agentv1.OperationProgress)) (*agentv1.OperationProgress, error)
	NodeKeyCSR(ctx context.Context) ([]byte, error)
	InstallNodeCertificate(ctx context.Context, der []byte) error
	EraseToken(ctx context.Context) error
	ReadNodeState(ctx context.Context) (*agentv1.NodeState, error)
	Forecast(ctx context.Context, request *agentv1.ForecastRequest) (*agentv1.Forecast, error)
	SetNodeLabels(ctx context.Context, labels map[string]string) (*agentv1.SetNodeLabelsReply, error)
	NudgeSSMAgent(ctx context.Context) (bool, error)
}

func succeeded(p *agentv1.OperationProgress) bool {
	return p.GetState() == agentv1.OperationState_OPERATION_STATE_SUCCEEDED
}

// kindName is an operation's kind in words: provision.
func kindName(kind agentv1.OperationKind) string {
	return strings.ToLower(strings.TrimPrefix(kind.String(), "OPERATION_KIND_"))
}
