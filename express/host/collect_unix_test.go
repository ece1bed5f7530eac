//go:build unix

package host

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// TestCollect: a program's exit code and output arrive although this process waits for all
// of its children, as the one that supervises httpd does.
func TestCollect(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	other, _, err := StartChild(Command{Path: "/bin/sleep", Argv: []string{"sleep", "60"}, Dir: "/", Files: []*os.File{null, null, null}}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { other.Signal(Kill); <-other.Done() }()
	for k := range 40 {
		code := k % 4
		exit, output, err := Collect(t.Context(), "/bin/sh", []string{"sh", "-c", `echo "$1 is $A"; exit $1`, "sh", string(rune('0' + code))}, []string{"A=b"})
		if err != nil || exit.Code != code || exit.Killed || output != string(rune('0'+code))+" is b\n" {
			t.Fatalf("%d: %+v %q %v", code, exit, output, err)
		}
	}
	if exit, _, err := Collect(t.Context(), "/bin/sh", []string{"sh", "-c", "kill -9 $$"}, nil); err != nil || !exit.Killed {
		t.Errorf("killed: %+v %v", exit, err)
	}
	if _, output, err := Collect(t.Context(), "/bin/sh", []string{"sh", "-c", `i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done`}, nil); err != nil || len(output) > mostOutput || !strings.HasSuffix(output, "line 2999\n") {
		t.Errorf("much output: %d bytes, %v", len(output), err)
	}
	// What it leaves behind does not keep this waiting, and its end comes with the context.
	began := time.Now()
	if exit, output, err := Collect(t.Context(), "/bin/sh", []string{"sh", "-c", "sleep 30 & echo done"}, nil); err != nil || exit.Code != 0 || output != "done\n" {
		t.Errorf("a program in the background: %+v %q %v", exit, output, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, _, err := Collect(ctx, "/bin/sleep", []string{"sleep", "30"}, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("too long: %v", err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
	if _, _, err := Collect(t.Context(), "/nonexistent/program", []string{"x"}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}
