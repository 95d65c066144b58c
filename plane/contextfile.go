package plane

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"hybridagent/plane/ca"
	"hybridagent/plane/operator"
	"hybridagent/plane/store"
)

const (
	// firstOperator is the name in the certificate of the context file.
	firstOperator = "admin"
	// contextCheck is how often a running plane looks at the context file. Its
	// certificate is due some months before its end.
	contextCheck = 24 * time.Hour
)

func contextPath(dataDir string) string { return filepath.Join(dataDir, "admin-context.yaml") }

// keepContext makes the first operator's context file where there is none, and
// a new certificate in it at two thirds of the life of the former. A file that
// the plane cannot read, or whose certificate is not its own, is the operator's.
func keepContext(info Info, authority *ca.Authority, now time.Time, log *zap.Logger) error {
	if _, err := os.Stat(info.ContextFile); errors.Is(err, os.ErrNotExist) {
		return writeContext(info, authority)
	}
	address, ended, ok := dueContext(info.ContextFile, authority, now, log)
	if !ok {
		return nil
	}
	info.Address = address
	if err := writeContext(info, authority); err != nil {
		return err
	}
	log.Info("certificate in the context file is renewed; copy the file to where operators use it",
		zap.String("file", info.ContextFile), zap.Time("former_ends", ended))
	return nil
}

// dueContext answers the address in a context file whose certificate is the
// plane's own and due, and when that ends.
func dueContext(path string, authority *ca.Authority, now time.Time, log *zap.Logger) (address string, end time.Time, ok bool) {
	held, err := operator.Read(path)
	var cert *x509.Certificate
	if err == nil {
		cert, err = held.Leaf()
	}
	if err != nil {
		log.Warn("context file is left as it is; remove it to have a new one made at the next start", zap.String("file", path), zap.Error(err))
		return "", time.Time{}, false
	}
	return held.Address, cert.NotAfter, cert.CheckSignatureFrom(authority.Certificate()) == nil && ca.Due(cert, now)
}

func writeContext(info Info, authority *ca.Authority) error {
	cert, key, err := authority.IssueOperator(firstOperator)
	if err != nil {
		return err
	}
	return operator.Context{
		Address: info.Address, CA: string(info.CAPEM), Certificate: string(cert), Key: string(key),
	}.Write(info.ContextFile)
}

// watchContext looks at the context file every day until the context ends.
func watchContext(ctx context.Context, info Info, authority *ca.Authority, now func() time.Time, log *zap.Logger) {
	tick := time.NewTicker(contextCheck)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := keepContext(info, authority, now(), log); err != nil {
				log.Error("certificate in the context file is not renewed; it is tried again in a day", zap.Error(err))
			}
		case <-ctx.Done():
			return
		}
	}
}

// ErrRunning says that a running plane holds the data directory.
var ErrRunning = errors.New("a running hybrid-plane uses it")

// RenewContext writes a fresh context file into the data directory of a plane
// that does not run, and answers its path. The address is the first of
// cfg.Advertise; where none is given, that of the file which is there.
func RenewContext(ctx context.Context, cfg Config) (path string, err error) {
	path = contextPath(cfg.DataDir)
	if _, err := os.Stat(filepath.Join(cfg.DataDir, "etcd")); err != nil {
		return "", fmt.Errorf("%s is no data directory of a plane that has run: %w", cfg.DataDir, err)
	}
	info := Info{ContextFile: path}
	if len(cfg.Advertise) > 0 {
		info.Address = cfg.Advertise[0]
	} else {
		held, err := operator.Read(path)
		if err != nil {
			return "", fmt.Errorf("cannot take the plane's address from its former context file; give it with --advertise HOST:PORT: %w", err)
		}
		info.Address = held.Address
	}
	st, err := store.Open(ctx, store.Options{Dir: cfg.DataDir, UnsafeNoFsync: cfg.UnsafeNoFsync, Log: cfg.Log.Named("etcd")})
	if errors.Is(err, store.ErrInUse) {
		return "", fmt.Errorf("cannot open data directory %s: %w; it renews %s by itself, and to have one written now stop it first", cfg.DataDir, ErrRunning, path)
	}
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	authority, err := ca.Load(ctx, st, cfg.Now)
	if err != nil {
		return "", err
	}
	info.CAPEM = authority.CertificatePEM()
	return path, writeContext(info, authority)
}
