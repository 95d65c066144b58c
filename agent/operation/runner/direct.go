package runner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// runVariable marks every process of a run in its environment, so that one that
// left the process group and lost its parent is still found.
const runVariable = "HYBRID_AGENT_RUN"

// followInterval is how often a run's output is looked at.
const followInterval = 100 * time.Millisecond

// killPatience bounds how long killed processes may take to vanish.
const killPatience = 10 * time.Second

// Direct runs programs as process groups, for hosts without systemd.
type Direct struct {
	log *zap.Logger
	dir string

	mutex sync.Mutex
	// own are the programs that are waited for by their starter; the reaper must
	// not take their exit codes away.
	own map[int]bool
}

// NewDirect returns a runner that keeps output below dir. It makes this process
// the reaper of all orphans below it (prctl(2), PR_SET_CHILD_SUBREAPER), so that
// children that detach themselves stay in reach.
func NewDirect(log *zap.Logger, dir string) (*Direct, error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("cannot become the reaper of nodeadm's children: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the directory for output: %w", err)
	}
	return &Direct{log: log, dir: dir, own: map[int]bool{}}, nil
}

// Name is direct.
func (d *Direct) Name() string { return "direct" }

// Active is always false: the exit code of a program whose parent died is lost,
// so Run ends what is left of it and starts anew.
func (d *Direct) Active(context.Context, string) (bool, error) { return false, nil }

// Stop is the Runner's. It knows a run's processes by their environment.
func (d *Direct) Stop(ctx context.Context, id string) error {
	return stopWhole(ctx, d.dir, id, d.stop)
}

func (d *Direct) stop(_ context.Context, id string) error {
	if err := d.end(id, d.inherited()); err != nil {
		return err
	}
	return removeOutput(outputPath(d.dir, id))
}

// inherited are the orphans that are below us now: left by earlier runs, and
// maybe a kubelet.
func (d *Direct) inherited() map[int]bool {
	found := map[int]bool{}
	for _, pid := range d.orphans() {
		found[pid] = true
	}
	return found
}

// Run is the Runner's. On cancellation the program is killed as well.
func (d *Direct) Run(ctx context.Context, command Command, onLine func(string)) (Result, error) {
	if err := stopOthers(ctx, d.dir, command.ID, d.stop); err != nil {
		return Result{}, err
	}
	inherited := d.inherited()
	if err := d.end(command.ID, inherited); err != nil {
		return Result{}, err
	}
	out, err := createOutput(d.dir, command.ID)
	if err != nil {
		return Result{}, fmt.Errorf("cannot run %s: %w", command.Path, err)
	}
	// The context must not kill on its own: it knows one process, end knows all.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), command.Path, command.Args...)
	cmd.Env = append(append([]string(nil), command.Env...), runVariable+"="+command.ID)
	cmd.Dir = "/"
	// The file itself, not a pipe: Wait then does not wait for grandchildren
	// that hold the other end.
	cmd.Stdout, cmd.Stderr = out.file, out.file
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	exited, err := d.start(cmd)
	if err != nil {
		return Result{}, errors.Join(fmt.Errorf("cannot run %s: %w", command.Path, err), out.finish(func(string) {}, true))
	}
	reader, err := os.Open(filepath.Clean(out.path))
	if err != nil {
		return Result{}, errors.Join(fmt.Errorf("cannot follow %s: %w", command.Path, err), d.end(command.ID, inherited))
	}
	follow := &output{path: out.path, file: reader}
	_ = out.close()
	end := func() error { return d.end(command.ID, inherited) }
	return d.wait(ctx, end, cmd, exited, follow, onLine)
}

// start starts the program and waits for it in the background.
func (d *Direct) start(cmd *exec.Cmd) (<-chan struct{}, error) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	pid := cmd.Process.Pid
	d.own[pid] = true
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		// The exit state is read from cmd.ProcessState.
		_ = cmd.Wait()
		d.mutex.Lock()
		defer d.mutex.Unlock()
		delete(d.own, pid)
	}()
	return exited, nil
}

// wait follows the output until the program has ended or the context has.
func (d *Direct) wait(ctx context.Context, end func() error, cmd *exec.Cmd, exited <-chan struct{}, out *output, onLine func(string)) (Result, error) {
	ticker := time.NewTicker(followInterval)
	defer ticker.Stop()
	for {
		select {
		case <-exited:
			result := resultOf(cmd.ProcessState)
			var err error
			if result.Code != 0 {
				// What a failed run left behind must not meet the next one. A
				// successful one may leave a service behind on purpose.
				err = end()
			}
			return result, errors.Join(err, out.finish(onLine, err == nil))
		case <-ctx.Done():
			err := end()
			<-exited
			err = errors.Join(err, out.finish(onLine, err == nil))
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return Result{Code: -1, Signal: "SIGKILL", Deadline: true}, err
			}
			return Result{}, errors.Join(context.Cause(ctx), err)
		case <-ticker.C:
			if err := out.read(onLine); err != nil {
				return Result{}, errors.Join(err, end())
			}
			d.reap()
		}
	}
}

func resultOf(state *os.ProcessState) Result {
	status, ok := state.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		return Result{Code: -1, Signal: unix.SignalName(status.Signal())}
	}
	return Result{Code: state.ExitCode()}
}

// end kills every process of a run until none is left: those that /proc shows
// as the run's, and orphans that came to us since the run began.
func (d *Direct) end(id string, inherited map[int]bool) error {
	deadline := time.Now().Add(killPatience)
	var told []int
	for {
		d.reap()
		pids, err := runProcesses(id)
		if err != nil {
			return fmt.Errorf("cannot find the processes of run %s: %w", id, err)
		}
		for _, pid := range d.orphans() {
			if !inherited[pid] && !slices.Contains(pids, pid) {
				pids = append(pids, pid)
			}
		}
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("cannot kill process %d of run %s: %w", pid, id, err)
			}
		}
		if !slices.Equal(pids, told) {
			told = pids
			d.log.Info("killed processes of a run", zap.String("run", id), zap.Ints("pids", pids))
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("cannot end run %s: processes %v do not die; they may hang in the kernel: reboot the host", id, pids)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// reap takes the exit states of orphans that became our children.
func (d *Direct) reap() {
	for _, pid := range d.orphans() {
		var status unix.WaitStatus
		_, _ = unix.Wait4(pid, &status, unix.WNOHANG, nil)
	}
}

// orphans lists our children that we did not start: those of runs whose parents
// are gone. A child in our own session was started by us (client-go's credential
// program) and is waited for by its starter.
func (d *Direct) orphans() []int {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	var found []int
	for _, process := range listProcesses() {
		if process.parent == os.Getpid() && !d.own[process.pid] && process.session != ownSession() {
			found = append(found, process.pid)
		}
	}
	return found
}

func ownSession() int {
	session, err := unix.Getsid(0)
	if err != nil {
		return -1
	}
	return session
}
