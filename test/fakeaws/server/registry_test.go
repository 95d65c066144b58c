package server_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"testing"

	"hybridagent/test/fakeaws/server"
)

func TestThePauseImageCanBePulled(t *testing.T) {
	t.Parallel()
	a := newAPI(t, server.Options{})
	get := func(path string) []byte {
		t.Helper()
		resp, err := a.client.Get(a.s.AWSURL() + "/v2/eks/pause/" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%s: %s %v", path, resp.Status, err)
		}
		if sum := fmt.Sprintf("sha256:%x", sha256.Sum256(raw)); resp.Header.Get("Docker-Content-Digest") != sum {
			t.Errorf("%s: digest %s, want %s", path, resp.Header.Get("Docker-Content-Digest"), sum)
		}
		return raw
	}
	var manifest struct {
		Config struct{ Digest string }
		Layers []struct{ Digest string }
	}
	if err := json.Unmarshal(get("manifests/3.5"), &manifest); err != nil || len(manifest.Layers) != 1 {
		t.Fatalf("manifest %+v: %v", manifest, err)
	}
	for _, digest := range []string{manifest.Config.Digest, manifest.Layers[0].Digest} {
		if len(get("blobs/"+digest)) == 0 {
			t.Errorf("blob %s is empty", digest)
		}
	}
	resp, err := a.client.Head(a.s.AWSURL() + "/v2/eks/pause/manifests/4.0")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 404 {
		t.Errorf("another tag: %s, want 404", resp.Status)
	}
}
