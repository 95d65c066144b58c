package door

import (
	"context"
	"net"
	"time"

	"hybridagent/agent/operation"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Operations is what the door needs of the engine.
type Operations interface {
	Submit(op *agentv1.Operation, signed []byte) error
	Follow(ctx context.Context, id string, send func(*agentv1.OperationProgress) error) error
}

// Options are what the door serves and whom. A request whose function is nil is
// answered as one that this build does not know.
type Options struct {
	// Trust is what signed operations are checked against.
	Trust operation.Trust
	// Allowed reports whether a user may use the door.
	Allowed func(uid uint32) bool
	// LocalRoot says that a peer with user 0 is somebody at this host, who may end
	// an operation and have one run that nobody signed. False where the daemon may
	// be root itself, as with the direct runner.
	LocalRoot bool
	// Operations runs signed operations.
	Operations Operations
	// NodeKeyCSR, InstallNodeCertificate, EraseToken and ReadNodeState serve the
	// requests of the same names.
	NodeKeyCSR             func() ([]byte, error)
	InstallNodeCertificate func(der []byte) error
	EraseToken             func() error
	ReadNodeState          func(ctx context.Context) (*agentv1.NodeState, error)
	// Abort ends an operation, with an empty ID the one that runs, on behalf of
	// by, and returns its ID.
	Abort func(id, by string) (string, error)
	// SubmitLocal starts an operation that nobody signed and returns its ID.
	SubmitLocal func(kind agentv1.OperationKind, force bool) (string, error)
	// Forecast says what an operation would do and changes nothing: nobody signed
	// what it is given. ctx ends when the peer has gone.
	Forecast func(ctx context.Context, request *agentv1.ForecastRequest) (*agentv1.Forecast, error)
	// SetNodeLabels brings labels, whose form was checked, to the Node.
	SetNodeLabels func(ctx context.Context, labels map[string]string) (*agentv1.SetNodeLabelsReply, error)
	// NudgeSSMAgent starts the SSM agent anew, and reports whether it did.
	NudgeSSMAgent func(ctx context.Context) (bool, error)
	// Now is the clock.
	Now func() time.Time
	// ReadLimit replaces the time to send a frame, for tests.
	ReadLimit time.Duration
	// peerOf replaces who the kernel says is at the other end, for tests.
	peerOf func(net.Conn) (peer, error)
}
