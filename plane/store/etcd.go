package store

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"
)

const (
	memberName = "plane"
	// Placeholder: a single member needs a peer URL by name, and nothing ever
	// listens on it or dials it.
	memberURL = "unix://hybrid-plane"
	// A single member elects itself after one election timeout, which is what a
	// start waits for; a raft tick costs a wakeup, so the heartbeat stays slow.
	heartbeatMillis = 100
	electionMillis  = 500
	readyTimeout    = 30 * time.Second
	// Resources are kept for audit by revision only as long as a watch may lag.
	compactionRetention = "1h"
	maxRequestBytes     = 4 << 20
	maxTxnOps           = 512
)

// startEtcd runs one etcd member inside this process, without any listener.
func startEtcd(ctx context.Context, dir string, noFsync bool, log *zap.Logger) (*embed.Etcd, *clientv3.Client, error) {
	cfg := embed.NewConfig()
	cfg.Name = memberName
	cfg.Dir = filepath.Join(dir, "etcd")
	peer, err := url.Parse(memberURL)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot parse etcd member URL %s: %w", memberURL, err)
	}
	cfg.ListenPeerUrls, cfg.ListenClientUrls, cfg.ListenMetricsUrls = nil, nil, nil
	cfg.AdvertiseClientUrls = nil
	cfg.AdvertisePeerUrls = []url.URL{*peer}
	cfg.InitialCluster = memberName + "=" + memberURL
	cfg.TickMs, cfg.ElectionMs = heartbeatMillis, electionMillis
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = embed.CompactorModePeriodic, compactionRetention
	cfg.MaxRequestBytes, cfg.MaxTxnOps = maxRequestBytes, maxTxnOps
	cfg.UnsafeNoFsync = noFsync
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(log.WithOptions(zap.WrapCore(quiet)))

	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot start etcd in %s: %w", cfg.Dir, err)
	}
	select {
	case <-e.Server.ReadyNotify():
	case err := <-e.Err():
		e.Close()
		return nil, nil, fmt.Errorf("cannot start etcd in %s: %w", cfg.Dir, err)
	case <-time.After(readyTimeout):
		e.Close()
		return nil, nil, fmt.Errorf("cannot start etcd in %s: not ready after %s", cfg.Dir, readyTimeout)
	case <-ctx.Done():
		e.Close()
		return nil, nil, ctx.Err()
	}
	return e, v3client.New(e.Server), nil
}
