package testkit

import (
	"os"
	"testing"
)

// Turn skips a test of ten minutes or more if this run of scripts/run-tests takes another
// group of long tests (MODWSGI_TEST_TURN). Elsewhere, and with "all", the test runs.
func Turn(t *testing.T, group string) {
	t.Helper()
	if turn := os.Getenv("MODWSGI_TEST_TURN"); turn != "" && turn != "all" && turn != group {
		t.Skipf("this run takes the long tests %q, not %q: TURN=%s make test", turn, group, group)
	}
}
