package store

import (
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// quietCore keeps etcd's log to what an operator can act on: errors, but for one
// that etcd logs for every fresh data directory until its first snapshot.
type quietCore struct{ zapcore.Core }

func quiet(c zapcore.Core) zapcore.Core { return quietCore{c} }

const expectedError = "failed to update storage version"

func (q quietCore) With(fields []zapcore.Field) zapcore.Core { return quietCore{q.Core.With(fields)} }

func (q quietCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if e.Level < zap.ErrorLevel || e.Message == expectedError {
		return ce
	}
	return q.Core.Check(e, ce)
}

func (q quietCore) Enabled(l zapcore.Level) bool { return l >= zap.ErrorLevel && q.Core.Enabled(l) }
