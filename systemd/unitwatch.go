package systemd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
)

// How long a watch waits before it connects again.
const (
	reconnectFirst = time.Second
	reconnectMost  = time.Minute
)

// UnitWatch is the task that follows the states of a few units by systemd's own
// signals: it wakes when one changes, and never by the clock. Where there is no
// systemd it only waits.
type UnitWatch struct {
	names   []string
	changed func()
	ready   chan struct{}

	mutex  sync.Mutex
	states []UnitState
	err    error
}

// NewUnitWatch returns the task. changed is called after each change of a state.
func NewUnitWatch(changed func(), names ...string) *UnitWatch {
	return &UnitWatch{names: names, changed: changed, ready: make(chan struct{})}
}

// String names the task.
func (w *UnitWatch) String() string { return "units" }

// Ready is closed as soon as the task runs.
func (w *UnitWatch) Ready() <-chan struct{} { return w.ready }

// States returns the units in the order of their names; none with an error while
// systemd cannot be asked, and none without one where there is no systemd.
func (w *UnitWatch) States() ([]UnitState, error) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return slices.Clone(w.states), w.err
}

// Run follows until the context ends; then it returns nil.
func (w *UnitWatch) Run(ctx context.Context) error {
	close(w.ready)
	if !Running() {
		<-ctx.Done()
		return nil
	}
	for pause := reconnectFirst; ; pause = min(2*pause, reconnectMost) {
		err := w.follow(ctx, func() { pause = reconnectFirst })
		if ctx.Err() != nil {
			return nil //nolint:nilerr // asked to end
		}
		w.set(nil, err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// follow keeps the states current until the connection to the bus ends. It calls
// connected when it has read them once.
func (w *UnitWatch) follow(ctx context.Context, connected func()) error {
	conn, err := godbus.ConnectSystemBus(godbus.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("cannot reach systemd over D-Bus: %w", err)
	}
	defer func() { _ = conn.Close() }()
	signals := make(chan *godbus.Signal, 64)
	conn.Signal(signals)
	for _, name := range w.names {
		if err := conn.AddMatchSignalContext(ctx, unitSignals(name)...); err != nil {
			return fmt.Errorf("cannot watch unit %s: %w", name, err)
		}
	}
	// Without a subscriber systemd sends no signals (org.freedesktop.systemd1(5)).
	manager := conn.Object("org.freedesktop.systemd1", "/org/freedesktop/systemd1")
	if err := manager.CallWithContext(ctx, "org.freedesktop.systemd1.Manager.Subscribe", 0).Err; err != nil {
		return fmt.Errorf("cannot subscribe to systemd's signals: %w", err)
	}
	for first := true; ; first = false {
		states, err := listUnits(ctx, manager, w.names)
		if err != nil {
			return err
		}
		if first {
			connected()
		}
		w.set(states, nil)
		if err := awaitSignal(ctx, signals); err != nil {
			return err
		}
	}
}

// listUnits reads states without go-systemd's connection, which would wake this
// process for every job on the host.
func listUnits(ctx context.Context, manager godbus.BusObject, names []string) ([]UnitState, error) {
	var rows [][]any
	if err := manager.CallWithContext(ctx, "org.freedesktop.systemd1.Manager.ListUnitsByNames", 0, names).Store(&rows); err != nil {
		return nil, fmt.Errorf("cannot read the state of units %v: %w", names, err)
	}
	var statuses []dbus.UnitStatus
	for _, row := range rows {
		var status dbus.UnitStatus
		if err := godbus.Store(row, &status.Name, &status.Description, &status.LoadState, &status.ActiveState, &status.SubState,
			&status.Followed, &status.Path, &status.JobId, &status.JobType, &status.JobPath); err != nil {
			return nil, fmt.Errorf("cannot read the state of a unit: %w", err)
		}
		statuses = append(statuses, status)
	}
	return statesOf(statuses, names), nil
}

// unitSignals matches what systemd says of one unit.
func unitSignals(name string) []godbus.MatchOption {
	return []godbus.MatchOption{
		godbus.WithMatchObjectPath(godbus.ObjectPath("/org/freedesktop/systemd1/unit/" + dbus.PathBusEscape(name))),
		godbus.WithMatchInterface("org.freedesktop.DBus.Properties"),
		godbus.WithMatchMember("PropertiesChanged"),
	}
}

var errBusLost = errors.New("cannot watch units: the connection to D-Bus ended")

// awaitSignal waits for a signal and takes those that are there with it: one look
// answers them all.
func awaitSignal(ctx context.Context, signals <-chan *godbus.Signal) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case signal, ok := <-signals:
		if !ok || signal == nil {
			return errBusLost
		}
	}
	for {
		select {
		case _, ok := <-signals:
			if !ok {
				return errBusLost
			}
		default:
			return nil
		}
	}
}

// set keeps what is known now, and tells of a change.
func (w *UnitWatch) set(states []UnitState, err error) {
	w.mutex.Lock()
	same := slices.Equal(states, w.states) && (err == nil) == (w.err == nil)
	w.states, w.err = states, err
	w.mutex.Unlock()
	if !same {
		w.changed()
	}
}
