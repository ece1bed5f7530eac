//go:build unix

package scripttest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
)

// TestWriteFile: a program that was just written starts while other scripts start
// programs.
func TestWriteFile(t *testing.T) {
	own, err := exec.LookPath("true")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(own)
	if err != nil {
		t.Fatal(err)
	}
	stop, others := make(chan struct{}), sync.WaitGroup{}
	defer others.Wait()
	defer close(stop)
	for range 4 {
		others.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_ = exec.CommandContext(t.Context(), own).Run()
				}
			}
		})
	}
	dir := t.TempDir()
	for i := range 300 {
		name := filepath.Join(dir, strconv.Itoa(i))
		if err := writeFile(name, program, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := exec.CommandContext(t.Context(), name).Run(); err != nil {
			t.Fatalf("after %d programs: %v", i, err)
		}
	}
}
