package installer

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"modwsgi/internal/cachedir"
	"modwsgi/internal/testkit"
	"modwsgi/internal/toolchain"
)

// hosted returns a probed host and its record.
func hosted(t *testing.T) (*Host, hostMemory, Setting) {
	t.Helper()
	q := request(t)
	q.Env = append(q.Env, "CC=cc")
	h, err := probeHost(t.Context(), q.Setting, nil, nil, true)
	if err != nil {
		t.Skipf("needs a compiler: %v", err)
	}
	return h, hostMemory{cache: q.CacheDir, env: q.Env}, q.Setting
}

func TestHostIsRecorded(t *testing.T) {
	h, memory, at := hosted(t)
	memory.remember(t.Context(), at.Runner, h)
	record := filepath.Join(memory.cache, cachedir.Host, memory.name())
	again, ok := memory.recall(true)
	if !ok {
		t.Fatal("it was not")
	}
	if again.Tools.Compiler != h.Tools.Compiler || len(again.HTTPD.Has) != len(h.HTTPD.Has) || again.HTTPD.Toolchain != again.Tools {
		t.Errorf("%+v is not %+v", again, h)
	}
	now := &hostNow{Host: *again, recalled: true, memory: memory, at: at}
	if err := now.again(t.Context()); err != nil || now.recalled {
		t.Errorf("the same host: %v", err)
	}
	for name, change := range map[string]func(*hostMemory){
		"another compiler":  func(m *hostMemory) { m.env = []string{"PATH=" + os.Getenv("PATH"), "CC=gcc"} },
		"no compiler":       func(m *hostMemory) { m.env = []string{"PATH=/nowhere", "CC=cc"} },
		"flags":             func(m *hostMemory) { m.env = append(slices.Clone(m.env), "CFLAGS=-O3") },
		"another date":      func(m *hostMemory) { m.env = append(slices.Clone(m.env), "SOURCE_DATE_EPOCH=5") },
		"no cache":          func(m *hostMemory) { m.cache = "" },
		"another user's":    func(m *hostMemory) { _ = os.Chmod(filepath.Join(m.cache, "host"), 0o777) },
		"empty":             func(*hostMemory) { _ = os.WriteFile(record, []byte("{}"), 0o600) },
		"damaged (garbage)": func(*hostMemory) { _ = os.WriteFile(record, []byte("\x00"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			_ = os.Chmod(filepath.Join(memory.cache, "host"), 0o700)
			other := memory
			change(&other)
			if _, ok := other.recall(true); ok {
				t.Error("the record was used")
			}
		})
	}
}

// A wrong record is noticed before anything is built.
func TestWrongHostRecord(t *testing.T) {
	h, memory, at := hosted(t)
	wrong := *h.Tools
	wrong.Compiler = "cc 0.1"
	host := *h.HTTPD
	now := &hostNow{Host: Host{Tools: &wrong, HTTPD: &host}, recalled: true, memory: memory, at: at}
	now.join()
	if err := now.again(t.Context()); !errors.Is(err, errHostChanged) {
		t.Errorf("got %v", err)
	}
}

func TestFlagsOfTheEnvironmentAreReported(t *testing.T) {
	for env, want := range map[string]string{"CFLAGS": "with the flags in CFLAGS", "LIBS=-lx": "not used for compiling: LIBS", "LIBS=": ""} {
		var h testkit.Events
		tools := &toolchain.Toolchain{}
		if env == "CFLAGS" {
			tools.Given.Names = []string{env}
		}
		j := &job{env: []string{env}, events: h.Sink, host: &hostNow{Host: Host{Tools: tools}}}
		j.reportFlags()
		j.reportFlags()
		if len(h.Texts()) > 1 || (len(h.Texts()) == 1) != (want != "") || want != "" && !h.Has(want) {
			t.Errorf("%s: %q", env, h.Texts())
		}
	}
}
