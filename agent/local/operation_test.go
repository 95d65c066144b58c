package local

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
	localv1 "hybridagent/proto/hybrid/local/v1"
)

const running = "runs0000000000000000000000"

func watching(ctx context.Context, c localv1.LocalServiceClient, id string) (localv1.LocalService_WatchOperationClient, *agentv1.OperationProgress, error) {
	stream, err := c.WatchOperation(ctx, &localv1.WatchOperationRequest{OperationId: id})
	if err != nil {
		return nil, nil, err
	}
	answer, err := stream.Recv()
	return stream, answer.GetOperation(), err
}

func TestWatchOperation(t *testing.T) {
	t.Parallel()
	_, path := serve(t)
	c := client(t, path)
	if _, p, err := watching(t.Context(), c, ""); err != nil || p.GetOperationId() != "last" {
		t.Errorf("the last one: %v, %v", p, err)
	}
	for _, id := range []string{"none0000000000000000000000", "../../etc/passwd"} {
		if _, _, err := watching(t.Context(), c, id); status.Code(err) != codes.NotFound {
			t.Errorf("%s: %v", id, err)
		}
	}
}

// TestWatchersAreBounded: they take the daemon's connections to root.
func TestWatchersAreBounded(t *testing.T) {
	t.Parallel()
	_, path := serve(t)
	c := client(t, path)
	ctx, leave := context.WithCancel(t.Context())
	for range maxWatchers {
		if _, _, err := watching(ctx, c, running); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err := watching(t.Context(), c, running)
	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "4 operations are watched already") {
		t.Errorf("one too many: %v", err)
	}
	leave()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		if _, _, err = watching(ctx, c, ""); err == nil {
			return
		}
	}
	t.Errorf("a place that was left is not free: %v", err)
}

func TestPlanOperation(t *testing.T) {
	t.Parallel()
	_, path := serve(t)
	c := client(t, path)
	for kind, want := range map[agentv1.OperationKind]codes.Code{
		agentv1.OperationKind_OPERATION_KIND_LEAVE:       codes.OK,
		agentv1.OperationKind_OPERATION_KIND_REPAVE:      codes.ResourceExhausted,
		agentv1.OperationKind_OPERATION_KIND_PROVISION:   codes.Unavailable,
		agentv1.OperationKind_OPERATION_KIND_UNSPECIFIED: codes.FailedPrecondition,
	} {
		answer, err := c.PlanOperation(t.Context(), &localv1.PlanOperationRequest{Kind: kind})
		if status.Code(err) != want {
			t.Errorf("%v: %v, want %v", kind, err, want)
		}
		if want == codes.OK && answer.GetForecast().GetPath() != "uninstall" {
			t.Errorf("%v: %v", kind, answer)
		}
	}
}
