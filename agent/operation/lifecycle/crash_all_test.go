//go:build crash

package lifecycle

import (
	"fmt"
	"os"
	"sync"
	"testing"
)

// TestCrashEverywhere kills a process before and after every journal write of
// every operation. The last line, which the make target prints, goes into the file
// that CRASH_SUMMARY names.
func TestCrashEverywhere(t *testing.T) {
	var mutex sync.Mutex
	var points, recovered int
	t.Run("operations", func(t *testing.T) {
		for _, s := range scenarios() {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				some, good := s.crash(t)
				t.Logf("%d crash points, %d recovered", some, good)
				mutex.Lock()
				defer mutex.Unlock()
				points, recovered = points+some, recovered+good
			})
		}
	})
	summary := fmt.Sprintf("%d crash points, %d recovered\n", points, recovered)
	t.Log(summary)
	if path := os.Getenv("CRASH_SUMMARY"); path != "" {
		if err := os.WriteFile(path, []byte(summary), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if points == 0 || recovered != points {
		t.Error(summary)
	}
}
