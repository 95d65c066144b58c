package kube

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// Image is the name of the image that pods run: no registry is asked for it.
const Image = "kube.test/pause:1"

// Media types of the OCI image specification.
const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar"
)

// archive is an image in OCI's layout, as containerd imports it.
type archive struct {
	content bytes.Buffer
	writer  *tar.Writer
	err     error
}

// add puts a file in; the first error stays.
func (a *archive) add(name string, mode int64, content []byte) {
	if a.err == nil {
		a.err = a.writer.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(content)), Typeflag: tar.TypeReg})
	}
	if a.err == nil {
		_, a.err = a.writer.Write(content)
	}
}

// blob puts content in under its digest and describes it.
func (a *archive) blob(mediaType string, content []byte) map[string]any {
	sum := fmt.Sprintf("%x", sha256.Sum256(content))
	a.add("blobs/sha256/"+sum, 0o644, content)
	return map[string]any{"mediaType": mediaType, "digest": "sha256:" + sum, "size": len(content)}
}

// object puts JSON in.
func (a *archive) object(mediaType string, object any) map[string]any {
	content, err := json.Marshal(object)
	if a.err == nil {
		a.err = err
	}
	return a.blob(mediaType, content)
}

// writeImage builds the image's one program and writes the archive.
func writeImage(ctx context.Context, path string) error {
	program := filepath.Join(filepath.Dir(path), "pause")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", program, "hybridagent/test/kube/pause")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build the program of the pods' image: %w\n%s", err, out)
	}
	content, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	layer := newArchive()
	layer.add("pause", 0o755, content)
	files, err := layer.close()
	if err != nil {
		return err
	}
	image := newArchive()
	config := image.object(configType, map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "config": map[string]any{"Entrypoint": []string{"/pause"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(files))}},
	})
	manifest := image.object(manifestType, map[string]any{
		"schemaVersion": 2, "mediaType": manifestType, "config": config, "layers": []any{image.blob(layerType, files)},
	})
	manifest["annotations"] = map[string]any{"io.containerd.image.name": Image, "org.opencontainers.image.ref.name": "1"}
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []any{manifest}})
	if err != nil {
		return err
	}
	image.add("index.json", 0o644, index)
	image.add("oci-layout", 0o644, []byte(`{"imageLayoutVersion":"1.0.0"}`))
	whole, err := image.close()
	if err != nil {
		return err
	}
	return os.WriteFile(path, whole, 0o644)
}

func newArchive() *archive {
	a := &archive{}
	a.writer = tar.NewWriter(&a.content)
	return a
}

func (a *archive) close() ([]byte, error) {
	if err := a.writer.Close(); a.err == nil {
		a.err = err
	}
	return a.content.Bytes(), a.err
}
