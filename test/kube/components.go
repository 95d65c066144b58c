package kube

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Programs that are built.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
	Scheduler         = "kube-scheduler"
	Kubelet           = "kubelet"
)

// packages tells what to build of the module in components for each program.
func packages() map[string]string {
	return map[string]string{
		Etcd:              "./etcd",
		APIServer:         "k8s.io/kubernetes/cmd/kube-apiserver",
		ControllerManager: "k8s.io/kubernetes/cmd/kube-controller-manager",
		Scheduler:         "k8s.io/kubernetes/cmd/kube-scheduler",
		Kubelet:           "k8s.io/kubernetes/cmd/kubelet",
	}
}

// Components is a folder of programs of one Kubernetes version.
type Components struct {
	// Dir has the programs under their names.
	Dir string
	// Version of Kubernetes, for example v1.34.4.
	Version string
}

// Path of a program.
func (c Components) Path(program string) string { return filepath.Join(c.Dir, program) }

// Build returns the programs, after building those that the user's cache folder
// does not have for these versions: etcd and kube-apiserver take some four
// minutes of two cores. Several processes may ask at once. say gets a line before
// each build.
func Build(ctx context.Context, say func(string), programs ...string) (Components, error) {
	source, err := sourceDir(ctx)
	if err != nil {
		return Components{}, err
	}
	components, err := locate(source)
	if err != nil {
		return Components{}, err
	}
	unlock, err := lock(components.Dir + ".lock")
	if err != nil {
		return Components{}, err
	}
	defer unlock()
	missing := slices.DeleteFunc(slices.Clone(programs), func(program string) bool {
		_, err := os.Stat(components.Path(program))
		return err == nil
	})
	if len(missing) == 0 {
		return components, nil
	}
	say(fmt.Sprintf("building %s of Kubernetes %s into %s, once; this takes some minutes", strings.Join(missing, ", "), components.Version, components.Dir))
	return components, build(ctx, source, components, missing)
}

// sourceDir is the nested module, found from wherever in the project a test runs.
func sourceDir(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("cannot find the project: go env GOMOD: %w", err)
	}
	return filepath.Join(filepath.Dir(strings.TrimSpace(string(out))), "test", "kube", "components"), nil
}

// locate names the cache folder by what the programs are built from.
func locate(source string) (Components, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return Components{}, fmt.Errorf("cannot find a folder for built programs: %w; set XDG_CACHE_HOME or HOME", err)
	}
	sum := sha256.New()
	version := ""
	for _, name := range []string{"go.mod", "go.sum", "etcd/main.go"} {
		content, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			return Components{}, fmt.Errorf("cannot read what the programs are built from: %w", err)
		}
		_, _ = sum.Write(content)
		if name == "go.mod" {
			version = required(string(content))
		}
	}
	if version == "" {
		return Components{}, fmt.Errorf("cannot find the version of k8s.io/kubernetes in %s/go.mod", source)
	}
	folder := fmt.Sprintf("%s-%s-%s-%.8x", version, runtime.GOARCH, runtime.Version(), sum.Sum(nil))
	dir := filepath.Join(cache, "hybrid-agent-tests", "kube", folder)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Components{}, fmt.Errorf("cannot make the folder for built programs: %w", err)
	}
	return Components{Dir: dir, Version: version}, nil
}

// required is the version that a go.mod requires of Kubernetes.
func required(mod string) string {
	for line := range strings.Lines(mod) {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == "k8s.io/kubernetes" {
			return fields[1]
		}
	}
	return ""
}

// build makes the programs beside their place and moves them there, so that an
// interrupted build leaves none that is half.
func build(ctx context.Context, source string, components Components, programs []string) error {
	fresh, err := os.MkdirTemp(filepath.Dir(components.Dir), "building-")
	if err != nil {
		return fmt.Errorf("cannot build: %w", err)
	}
	defer func() { _ = os.RemoveAll(fresh) }()
	number := strings.Split(strings.TrimPrefix(components.Version, "v"), ".")
	const stamp = "-X k8s.io/component-base/version."
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags",
		"-s -w " + stamp + "gitVersion=" + components.Version + " " + stamp + "gitMajor=" + number[0] + " " + stamp + "gitMinor=" + number[1],
		"-o", fresh + "/"}
	for _, program := range programs {
		args = append(args, packages()[program])
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build %v in %s: %w\n%s", programs, source, err, out)
	}
	for _, program := range programs {
		if err := os.Rename(filepath.Join(fresh, program), components.Path(program)); err != nil {
			return fmt.Errorf("cannot keep what was built: %w", err)
		}
	}
	return nil
}

// lock keeps other processes from building the same at once.
func lock(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("cannot lock the folder of built programs: %w", err)
	}
	for {
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX)
		if err == nil {
			return func() { _ = file.Close() }, nil
		}
		if !errors.Is(err, unix.EINTR) {
			_ = file.Close()
			return nil, &fs.PathError{Op: "lock", Path: path, Err: err}
		}
	}
}
