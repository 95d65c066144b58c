package server

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strconv"
)

// The registry holds one image, eks/pause:3.5, with an empty file system: enough for a real containerd to pull what nodeadm asks for
// (OCI Distribution Specification 1.0, pull only).

const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

func digestOf(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

// pauseImage returns the manifest and its blobs by digest; they are the same in every run.
func pauseImage() (manifest []byte, blobs map[string][]byte, err error) {
	var plain, layer bytes.Buffer
	archive := tar.NewWriter(&plain)
	if err := archive.WriteHeader(&tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755}); err != nil {
		return nil, nil, err
	}
	if err := archive.Close(); err != nil {
		return nil, nil, err
	}
	packed := gzip.NewWriter(&layer)
	if _, err := packed.Write(plain.Bytes()); err != nil {
		return nil, nil, err
	}
	if err := packed.Close(); err != nil {
		return nil, nil, err
	}
	config, err := json.Marshal(object{
		"architecture": runtime.GOARCH, "os": "linux", "config": object{}, "rootfs": object{"type": "layers", "diff_ids": []string{digestOf(plain.Bytes())}},
	})
	if err != nil {
		return nil, nil, err
	}
	part := func(kind string, data []byte) object {
		return object{"mediaType": kind, "digest": digestOf(data), "size": len(data)}
	}
	manifest, err = json.Marshal(object{
		"schemaVersion": 2, "mediaType": manifestType, "config": part(configType, config), "layers": []object{part(layerType, layer.Bytes())},
	})
	return manifest, map[string][]byte{digestOf(config): config, digestOf(layer.Bytes()): layer.Bytes()}, err
}

func (s *Server) registryRoutes(mux *http.ServeMux) error {
	manifest, blobs, err := pauseImage()
	if err != nil {
		return fmt.Errorf("cannot make the pause image: %w", err)
	}
	answer := func(w http.ResponseWriter, kind string, data []byte) {
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Docker-Content-Digest", digestOf(data))
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		w.Write(data)
	}
	mux.Handle("GET /v2/{$}", s.record("registry", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, object{}) })))
	mux.Handle("GET /v2/eks/pause/manifests/{ref}", s.record("registry", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ref := r.PathValue("ref"); ref != "3.5" && ref != digestOf(manifest) {
			http.NotFound(w, r)
			return
		}
		answer(w, manifestType, manifest)
	})))
	mux.Handle("GET /v2/eks/pause/blobs/{digest}", s.record("registry", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, ok := blobs[r.PathValue("digest")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		answer(w, "application/octet-stream", data)
	})))
	return nil
}
