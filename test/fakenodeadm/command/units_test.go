package command_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// units keeps the states that systemd would keep, for the three units that nodeadm controls.
type units struct {
	root       string
	containerd string // ActiveState/SubState
	unitFile   bool   // containerd has one
	crashLoop  bool   // kubelet exits at once, again and again
	remembered bool   // kubelet's unit file is gone, systemd has not been told
	active     map[string]bool
	started    map[string]bool
}

func (u *units) exists(path string) bool {
	_, err := os.Lstat(filepath.Join(u.root, path))
	return err == nil
}

func unitPath(unit string) string { return "/etc/systemd/system/" + unit + ".service" }

func wantsPath(unit string) string {
	return "/etc/systemd/system/multi-user.target.wants/" + unit + ".service"
}

func (u *units) Enable(unit string) error {
	if unit == "containerd" && u.unitFile {
		return nil
	}
	if unit == "containerd" || !u.exists(unitPath(unit)) {
		return fmt.Errorf("Unit file %s.service does not exist.", unit)
	}
	err := os.Symlink(unitPath(unit), filepath.Join(u.root, wantsPath(unit)))
	if err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

const crashingKubelet = "#!/bin/sh\nexit 1\n"

// Restart has the side effects that the recorded runs show: containerd makes folders and takes a running kubelet with it
// (Requires=), the updater writes credentials.
func (u *units) Restart(unit string) error {
	switch unit {
	case "containerd":
		if !u.exists("/usr/bin/containerd") {
			u.containerd = "activating/auto-restart"
			return nil
		}
		u.containerd = "active/running"
		if u.active["kubelet"] {
			u.started["kubelet"] = true
		}
		for _, dir := range []string{"/opt/containerd/bin", "/opt/containerd/lib"} {
			if err := os.MkdirAll(filepath.Join(u.root, dir), 0o711); err != nil {
				return err
			}
		}
	case "kubelet":
		raw, err := os.ReadFile(filepath.Join(u.root, "/usr/bin/kubelet"))
		if err != nil {
			return err
		}
		u.crashLoop = string(raw) == crashingKubelet
	case "amazon-ssm-agent":
		text := "[default]\naws_access_key_id=ASIALABSSM\naws_secret_access_key=s\naws_session_token=t\n"
		if err := os.MkdirAll(filepath.Join(u.root, "/root/.aws"), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(u.root, "/root/.aws/credentials"), []byte(text), 0o600); err != nil {
			return err
		}
	case "aws_signing_helper_update":
		text := "[default]\naws_access_key_id=ASIALAB\naws_secret_access_key=s\naws_session_token=t\n"
		if err := os.WriteFile(filepath.Join(u.root, "/eks-hybrid/.aws/credentials"), []byte(text), 0o644); err != nil {
			return err
		}
	}
	u.active[unit], u.started[unit] = true, true
	return nil
}

func (u *units) Stop(unit string) error {
	u.active[unit], u.remembered = false, true
	return nil
}

func (u *units) Running(unit string) bool {
	if unit == "containerd" {
		return u.containerd == "active/running"
	}
	return u.active[unit]
}

func (u *units) forgetStarts() { u.started = map[string]bool{} }

// state is the unit's state in the table's words.
func (u *units) state(unit string) string {
	text, enabled := "", "disabled"
	switch {
	case unit == "containerd" && !u.unitFile:
		return "not-found"
	case unit == "containerd":
		text, enabled = u.containerd, "enabled"
	case !u.exists(unitPath(unit)) && !(unit == "kubelet" && u.remembered):
		return "not-found"
	case u.crashLoop && unit == "kubelet":
		text = "activating/auto-restart"
	case u.active[unit]:
		text = "active/running"
	default:
		text = "inactive/dead"
	}
	if unit != "containerd" && u.exists(wantsPath(unit)) {
		enabled = "enabled"
	}
	text = "loaded/" + text + "/" + enabled
	if u.started[unit] {
		text += " started anew"
	}
	return text
}

// certificate is a machine certificate with its key, both PEM.
func certificate(t *testing.T, notAfter time.Time) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "store-17-a"}, NotBefore: notAfter.Add(-48 * time.Hour), NotAfter: notAfter}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}))
}

// closedPort is an address that refuses connections: bound, so that nobody else gets it, but never listened on.
func closedPort(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	addr, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", addr.(*syscall.SockaddrInet4).Port)
}

func base64CA(h *host) string { return base64.StdEncoding.EncodeToString(h.server.CA()) }

func contextFor(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx, cancel
}

func waitFor(t *testing.T, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the condition did not come true within 10 s")
		}
	}
}
