package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"hybridagent/agent/internal/planetest"
)

func TestOperatorSeesWhyAHostCannotEnrol(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	site(t)
	for name, tc := range map[string]struct {
		spoil  func(*planetest.Plane, *machine)
		reason string
		want   []string
	}{
		"unreachable plane": {func(p *planetest.Plane, _ *machine) { p.Stop() }, "PlaneUnreachable", []string{"cannot reach the plane at 127.0.0.1", "connection refused", "keeps trying"}},
		"wrong CA pin": {func(_ *planetest.Plane, m *machine) {
			m.cfg.Plane.CAPin = "sha256:" + strings.Repeat("0f", 32)
		}, "WrongCAPin", []string{"expects sha256:0f0f", "has the pin sha256:", "plane.caPin"}},
		"used token": {func(p *planetest.Plane, _ *machine) {
			p.Tokens["good"] = status.Error(codes.PermissionDenied, "the token shop-1 was used by 1 of 1 hosts")
		}, "TokenRefused", []string{"used by 1 of 1 hosts", "hybridctl token create"}},
		"expired token": {func(p *planetest.Plane, _ *machine) {
			p.Tokens["good"] = status.Error(codes.PermissionDenied, "the token shop-1 expired 2026-01-02T03:04:05Z")
		}, "TokenRefused", []string{"expired 2026-01-02", "hybridctl token create"}},
		"unknown token": {func(p *planetest.Plane, _ *machine) { delete(p.Tokens, "good") }, "TokenUnknown", []string{"does not know this enrolment token"}},
		"no token": {func(_ *planetest.Plane, m *machine) {
			_ = os.Remove(m.cfg.Enrollment.TokenFile)
		}, "TokenMissing", []string{"enrolment token", "hybridctl token create"}},
		"another machine's ID": {func(p *planetest.Plane, _ *machine) {
			p.Tokens["good"] = status.Error(codes.AlreadyExists, "host ID edge-1 belongs to another machine")
		}, "HostIDTaken", []string{"another machine", "host.name"}},
		"no host ID": {func(_ *planetest.Plane, m *machine) {
			_ = os.Remove(filepath.Join(m.cfg.Paths.OpState, "host-id"))
		}, "HostIDMissing", []string{"hybrid-agent-op"}},
	} {
		t.Run(name, func(t *testing.T) {
			plane := planetest.New(t)
			plane.Start()
			m := newMachine(t, plane)
			tc.spoil(plane, m)
			m.start()
			contains(t, m.awaitCondition(ConditionRegistered, "false", tc.reason), tc.want...)
			m.stop()
		})
	}
}

func TestExpiredCertificateAndAFreshToken(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	site(t)
	plane := planetest.New(t)
	plane.CertificateLife = -30 * time.Second // over when it is issued
	plane.Start()
	m := newMachine(t, plane)
	m.start()
	contains(t, m.awaitCondition(ConditionRegistered, "false", "CertificateExpired"), "fresh enrolment token", "restart hybrid-agent.service")
	m.stop()
	plane.Stop()
	plane.CertificateLife = time.Hour
	plane.Start()
	m.start() // the token is still there: the fake door only notes that it should go
	m.awaitCondition(ConditionRegistered, "true", "Connected")
}
