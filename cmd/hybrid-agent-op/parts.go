package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"hybridagent/agent/config"
	"hybridagent/agent/operation"
	"hybridagent/agent/operation/door"
	"hybridagent/agent/operation/engine"
	"hybridagent/agent/operation/journal"
	"hybridagent/agent/operation/lifecycle"
	"hybridagent/agent/operation/nodekey"
	"hybridagent/agent/operation/nodelabels"
	"hybridagent/agent/operation/nodestate"
	"hybridagent/agent/operation/runner"
	"hybridagent/agent/operation/ssmagent"
	"hybridagent/agent/operation/token"
	"hybridagent/agent/store"
	"hybridagent/nodeadm/nodeapi"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	"hybridagent/systemd"
)

// journalFolder is where operations are journalled, below root's state.
const journalFolder = "operations"

// parts are the pieces of a running hybrid-agent-op.
type parts struct {
	log       *zap.Logger
	hostID    string
	lock      *store.Lock
	engine    *engine.Engine
	door      *door.Door
	listener  net.Listener
	activated bool
}

// build wires everything, resumes what was under way, and opens the socket, in
// this order: the socket must not be answered before the host ID is known.
func build(ctx context.Context, log *zap.Logger, cfg config.Config, f serveFlags) (*parts, error) {
	// Taken over first: the variables must not reach any child.
	passed, err := systemd.Listeners()
	if err != nil {
		return nil, err
	}
	user, err := lookUser(f.daemonUser)
	if err != nil {
		return nil, err
	}
	if user == nil {
		log.Warn("the daemon's user does not exist: only root may use the door", zap.String("user", f.daemonUser))
	}
	if err := prepareState(cfg.Paths.OpState, user); err != nil {
		return nil, err
	}
	lock, err := store.Acquire(cfg.Paths.OpState)
	if err != nil {
		return nil, err
	}
	p := &parts{log: log, lock: lock}
	// A power cut in the middle of a write leaves its half, which may hold a secret.
	if err := (store.Disk{}).RemoveTemps(cfg.Paths.OpState); err != nil {
		log.Warn("cannot remove what a write that was cut short has left", zap.Error(err))
	}
	if err := p.wire(ctx, cfg, f, user, passed); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *parts) wire(ctx context.Context, cfg config.Config, f serveFlags, user *daemonUser, passed map[string][]net.Listener) error {
	hostID, err := ensureHostID(p.log, cfg, user)
	if err != nil {
		return err
	}
	p.hostID = hostID
	p.log = p.log.With(zap.String("host_id", hostID))
	run, err := newRunner(p.log, cfg, f.runner)
	if err != nil {
		return err
	}
	journals, err := journal.Open(filepath.Join(cfg.Paths.OpState, journalFolder))
	if err != nil {
		return err
	}
	keys := nodekey.New(cfg.Paths.Root, hostID, time.Now)
	appliance := p.appliance(cfg, run.Name())
	state := nodestate.New(nodestate.Options{
		Dir: cfg.Paths.OpState, Root: cfg.Paths.Root, Runner: run.Name(), Keys: keys,
		Log: p.log.Named("nodestate"), Now: time.Now, Open: nodestate.OpenAPI, BootedImage: bootedImage(cfg, appliance),
	})
	options := lifecycle.Options{
		Dir: cfg.Paths.OpState, Root: cfg.Paths.Root, HostID: hostID,
		NodeadmPath: cfg.Nodeadm.Path, Manifest: cfg.Nodeadm.Manifest, Environment: cfg.Nodeadm.Environment,
		Runner: run, Keys: keys, Addresses: addresses, Node: nodeapi.Read, Cluster: openCluster, Units: unitsOf(run.Name()), Appliance: appliance, Artifacts: newArtifacts(cfg), Now: time.Now,
		Log: p.log.Named("lifecycle"), Line: lineLogger(p.log),
	}
	options.Expected = func(step engine.Step) time.Duration { return p.engine.Expected(step) }
	p.engine = engine.New(p.log.Named("engine"), journals, engine.Options{
		Plan:  planner(options),
		Stop:  run.Stop,
		Ended: func(*agentv1.OperationProgress) { state.Forget() },
	})
	if err := p.engine.Resume(); err != nil {
		// The door opens all the same: what can be read stays readable, and
		// submissions are refused with this reason.
		p.log.Error("cannot resume operations", zap.Error(err))
	} else if !p.engine.Busy() {
		p.removeLeftConfig(cfg.Paths.OpState)
	}
	p.door = door.New(p.log.Named("door"), door.Options{
		Trust:                  operation.Trust{Pins: []operation.Pin{cfg.Plane.PinSum()}, HostID: hostID},
		Allowed:                user.allowed,
		LocalRoot:              run.Name() == "systemd",
		Operations:             p.engine,
		NodeKeyCSR:             keys.CSR,
		InstallNodeCertificate: keys.Install,
		EraseToken:             func() error { return token.Erase(cfg.Enrollment.TokenFile) },
		ReadNodeState:          state.Read,
		Abort:                  p.engine.Abort,
		SubmitLocal:            localSubmitter(hostID, cfg.Paths.OpState, p.engine.SubmitLocal),
		Forecast: func(ctx context.Context, request *agentv1.ForecastRequest) (*agentv1.Forecast, error) {
			return lifecycle.Forecast(ctx, options, request)
		},
		SetNodeLabels: nodelabels.New(nodelabels.Options{Dir: cfg.Paths.OpState, Root: cfg.Paths.Root, Open: nodelabels.OpenAPI}).Set,
		NudgeSSMAgent: ssmagent.New().Nudge,
	})
	p.listener, p.activated, err = listen(ctx, cfg.Paths.OpSocket, user, passed)
	return err
}

// removeLeftConfig removes a NodeConfig that no operation is going to remove.
func (p *parts) removeLeftConfig(dir string) {
	if err := lifecycle.RemoveLeftConfig(dir); err != nil {
		p.log.Warn("a NodeConfig that an operation has left may hold a secret; remove it by hand", zap.Error(err))
	}
}

// planner hands operations to package lifecycle, which fails kinds that it does not
// know.
func planner(options lifecycle.Options) engine.Planner {
	return func(ctx context.Context, op *agentv1.Operation, kept []byte) (engine.Plan, error) {
		return lifecycle.Plan(ctx, options, op, kept)
	}
}

func newRunner(log *zap.Logger, cfg config.Config, kind string) (runner.Runner, error) {
	// Beside the socket: gone after a reboot, as the runs are.
	dir := filepath.Join(filepath.Dir(cfg.Paths.OpSocket), "runs")
	if kind == "direct" {
		return runner.NewDirect(log.Named("runner"), dir)
	}
	return runner.NewSystemd(log.Named("runner"), dir)
}

// lineLogger puts nodeadm's redacted lines into the journal, found there by
// HYBRID_OPERATION_ID; without a journal they join the log.
func lineLogger(log *zap.Logger) func(operationID, text string) {
	return func(operationID, text string) {
		if !systemd.Journal() {
			log.Info("nodeadm: "+text, zap.String("op_id", operationID))
			return
		}
		fields := map[string]string{"SYSLOG_IDENTIFIER": "nodeadm", "HYBRID_OPERATION_ID": operationID}
		if err := systemd.Log(text, fields); err != nil {
			log.Warn("cannot log a line of nodeadm", zap.Error(err))
		}
	}
}

// run serves until the context ends, or nothing is left to do.
func (p *parts) run(ctx context.Context, idle time.Duration) error {
	p.log.Info("the door is open", zap.String("socket", p.listener.Addr().String()), zap.Bool("activated", p.activated))
	serving, cancel := context.WithCancel(ctx)
	defer cancel()
	if p.activated && idle > 0 {
		go p.watchIdle(serving, cancel, idle)
	}
	if err := p.door.Serve(serving, p.listener); err != nil {
		return fmt.Errorf("cannot serve the door: %w", err)
	}
	return nil
}

// watchIdle ends the service when nothing is asked and nothing runs.
func (p *parts) watchIdle(ctx context.Context, end context.CancelFunc, idle time.Duration) {
	ticker := time.NewTicker(min(idle, time.Second))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if !p.engine.Busy() && p.door.CloseIfIdle(idle) {
			p.log.Info("idle; ending until the next request")
			end()
			return
		}
	}
}

// close ends what build began, the last first.
func (p *parts) close() {
	if p.listener != nil {
		if err := p.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			p.log.Warn("cannot close the socket", zap.Error(err))
		}
	}
	if p.engine != nil {
		p.engine.Close()
	}
	if err := p.lock.Release(); err != nil {
		p.log.Warn("cannot release the lock", zap.Error(err))
	}
}
