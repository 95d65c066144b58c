package lifecycle

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRemovalsAreDurable: the folder is synced, whether or not there was something
// to remove, and an error of that is told.
func TestRemovalsAreDurable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "nodeconfig.yaml"), []byte("secret"))
	for range 2 {
		if err := RemoveLeftConfig(dir); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "nodeconfig.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the NodeConfig: %v", err)
	}
	gone := filepath.Join(dir, "gone")
	for name, err := range map[string]error{"removeAll": removeAll(filepath.Join(gone, "held")), "RemoveLeftConfig": RemoveLeftConfig(gone)} {
		if err == nil || !strings.Contains(err.Error(), "cannot sync directory "+gone) {
			t.Errorf("%s in a folder that cannot be synced: %v", name, err)
		}
	}
}
