package agent

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap/zaptest"

	"hybridagent/agent/config"
	"hybridagent/agent/internal/planetest"
	"hybridagent/netcfg"
)

// heldKeeper is a kernel that does not answer until it is let go.
type heldKeeper struct {
	routeKeeper
	free chan struct{}
}

func (k *heldKeeper) Set(context.Context, netcfg.Desired) (netcfg.Achieved, error) {
	<-k.free
	return netcfg.Achieved{}, nil
}

// stuck checks that the watchdog notices work that does not end, and only that.
func stuck(t *testing.T, hang func(t *testing.T, c *core, free chan struct{}) (work func()), want string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c, _ := newCore(Options{Config: config.Config{}, Log: zaptest.NewLogger(t)}, &fakeDoor{})
		c.cache.dir = t.TempDir()
		c.inventory = func(context.Context) (netcfg.Inventory, error) { return netcfg.Inventory{}, nil }
		free, done := make(chan struct{}), make(chan struct{})
		work := hang(t, c, free)
		time.Sleep(time.Hour) // idle for long is not stuck
		if err := c.moving(); err != nil {
			t.Errorf("idle: %v", err)
		}
		go func() { defer close(done); work() }()
		time.Sleep(stuckAfter)
		if err := c.moving(); err != nil {
			t.Errorf("after %s: %v", stuckAfter, err)
		}
		time.Sleep(2 * time.Second)
		if err := c.moving(); err == nil {
			t.Errorf("stuck for %s, and nobody notices", stuckAfter+2*time.Second)
		} else {
			contains(t, err.Error(), want, "27s")
		}
		close(free)
		<-done
		if err := c.moving(); err != nil {
			t.Errorf("after it went on: %v", err)
		}
	})
}

func TestWatchdogSeesAnInventoryThatHangs(t *testing.T) {
	t.Parallel()
	stuck(t, func(t *testing.T, c *core, free chan struct{}) func() {
		t.Helper()
		c.inventory = func(context.Context) (netcfg.Inventory, error) { <-free; return netcfg.Inventory{}, nil }
		return func() { c.pass(t.Context(), true) }
	}, "a pass of the pipeline")
}

func TestWatchdogSeesAKernelThatHangs(t *testing.T) {
	t.Parallel()
	stuck(t, func(t *testing.T, c *core, free chan struct{}) func() {
		t.Helper()
		c.facts.assignment = &assignment{update: planetest.Update(1, shop()), msg: shop()}
		c.facts.assignment.msg.Pool = "" // nothing to select: straight to the kernel
		c.keeper = &heldKeeper{routeKeeper: c.keeper, free: free}
		return func() { c.pass(t.Context(), false) }
	}, "a pass of the pipeline")
}

func TestWatchdogSeesAnAssignmentThatHangs(t *testing.T) {
	t.Parallel()
	stuck(t, func(t *testing.T, c *core, free chan struct{}) func() {
		t.Helper()
		c.facts.hostID.ID = testHost
		c.inventory = func(context.Context) (netcfg.Inventory, error) { <-free; return netcfg.Inventory{}, nil }
		return func() { c.offer(t.Context(), planetest.Update(1, shop())) }
	}, "an assignment")
}
