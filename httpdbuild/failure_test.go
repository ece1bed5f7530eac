//go:build unix

package httpdbuild

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"modwsgi/internal/digest"
	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
	"modwsgi/internal/steps"
	"modwsgi/internal/toolchain"
)

func runNothing(context.Context, *steps.Log) error { return nil }

func sumOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// source makes a source archive whose configure is a shell script. Its config.status
// creates nothing.
func source(t *testing.T, dir, name, configure string) Component {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	body := "#!/bin/sh\necho '#!/bin/sh' >config.status; chmod +x config.status\n" + configure
	if err := w.WriteHeader(&tar.Header{Name: name + "-1.0/configure", Mode: 0o755, Size: int64(len(body)), Typeflag: tar.TypeReg}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(body)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	c := Component{Name: name, Version: "1.0", Archive: filepath.Join(dir, name+"-1.0.tar.gz"), SHA256: sumOf(b.Bytes())}
	if err := os.WriteFile(c.Archive, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

// fake is a request for sources whose configure scripts are given by component, with a
// fake make.
func fake(t *testing.T, configure map[string]string, makeScript string) Request {
	t.Helper()
	dir := t.TempDir()
	if err := writeFile(filepath.Join(dir, "bin/make"), []byte("#!/bin/sh\n"+makeScript), 0o755); err != nil {
		t.Fatal(err)
	}
	q := Request{
		Host: testHost(), Jobs: 4, Runner: &run.Runner{},
		Work: filepath.Join(dir, "work"), Stage: filepath.Join(dir, "out/stage"), Logs: filepath.Join(dir, "logs"),
	}
	q.Host.Env = []string{"PATH=" + filepath.Join(dir, "bin") + ":/usr/bin:/bin"}
	for _, name := range []string{"httpd", "apr", "apr-util"} {
		q.Components = append(q.Components, source(t, dir, name, configure[name]))
	}
	// APR or a component that depends on it fails; this one is canceled by that.
	q.Components = append(q.Components, source(t, dir, "pcre2", "sleep 60\n"))
	return q
}

// nothingLeft checks that no tree, complete or partial, is at the destination.
func nothingLeft(t *testing.T, q Request) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(q.Stage))
	if err != nil || len(entries) > 0 {
		t.Errorf("left beside the stage: %v, %v", entries, err)
	}
}

func TestFailingTools(t *testing.T) {
	for name, c := range map[string]struct {
		configure map[string]string
		make      string
		step      string
		hint      string
	}{
		"configure": {map[string]string{"apr": "echo first; i=0; while [ $i -lt 50 ]; do echo no; i=$((i+1)); done; echo it does not work >&2; exit 3\n"}, "", "configure apr", "--keep-build"},
		"known text": {
			map[string]string{"apr-util": "echo 'configure: error: it does not work; C compiler cannot create executables' >&2; exit 77\n"}, "sleep 5\n", "configure apr-util", "the compiler does not work",
		},
		"make": {nil, "echo 'x.c:1:1: fatal error: zlib.h: No such file or directory, it does not work' >&2; exit 2\n", "compile apr", "zlib1g-dev"},
	} {
		t.Run(name, func(t *testing.T) {
			q := fake(t, c.configure, c.make)
			q.Driver = Make
			res, err := Build(t.Context(), q)
			if res != nil || err == nil || fault.ClassOf(err) != fault.Build || !strings.Contains(fault.HintOf(err), c.hint) {
				t.Fatalf("got %v, %v, class %v, hint %q", res, err, fault.ClassOf(err), fault.HintOf(err))
			}
			var step *steps.Error
			var tool *run.Error
			if !errors.As(err, &step) || step.Step != c.step || !errors.As(err, &tool) {
				t.Fatalf("got %v", err)
			}
			if n := len(tool.Tail); n == 0 || n > 20 || !strings.Contains(tool.Tail[n-1], "it does not work") {
				t.Errorf("tail %q", tool.Tail)
			}
			log, err := os.ReadFile(tool.LogPath)
			if err != nil || filepath.Dir(tool.LogPath) != q.Logs || !strings.Contains(string(log), "it does not work") || !strings.HasPrefix(string(log), "+ cd ") {
				t.Errorf("log %s, %v: %s", tool.LogPath, err, log)
			}
			nothingLeft(t, q)
		})
	}
}

// A partial stage of a killed build is not a stage.
func TestRemainsOfAKilledBuildAreRemoved(t *testing.T) {
	q := fake(t, map[string]string{"apr": "exit 1\n"}, "")
	if err := writeFile(filepath.Join(q.Stage+".part", "bin/httpd"), []byte("x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Build(t.Context(), q); err == nil {
		t.Fatal("it was built")
	}
	nothingLeft(t, q)
}

func TestDamagedArchiveIsNotABuildFailure(t *testing.T) {
	q := fake(t, map[string]string{"apr": "sleep 60\n"}, "") // a step that only unpacks goes on
	data, err := os.ReadFile(q.Components[0].Archive)
	if err == nil {
		err = os.WriteFile(q.Components[0].Archive, data[:40], 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	q.Components[0].SHA256 = sumOf(data[:40])
	_, err = Build(t.Context(), q)
	if fault.ClassOf(err) != fault.Source || !strings.Contains(fault.HintOf(err), "damaged") || !strings.Contains(err.Error(), "unpack httpd") {
		t.Errorf("got %v, class %v, hint %q", err, fault.ClassOf(err), fault.HintOf(err))
	}
	nothingLeft(t, q)
}

// An archive that was replaced after its verification runs nothing.
func TestReplacedArchiveRunsNothing(t *testing.T) {
	q := fake(t, map[string]string{"apr": "touch ran\n"}, "")
	mark := filepath.Join(t.TempDir(), "ran")
	i := slices.IndexFunc(q.Components, func(c Component) bool { return c.Name == "apr" })
	evil := source(t, t.TempDir(), "apr", "touch "+mark+"\n")
	if err := os.Rename(evil.Archive, q.Components[i].Archive); err != nil {
		t.Fatal(err)
	}
	_, err := Build(t.Context(), q)
	var changed *digest.Changed
	if !errors.As(err, &changed) || changed.Want != q.Components[i].SHA256 || changed.Got != evil.SHA256 || fault.ClassOf(err) != fault.Source {
		t.Errorf("got %v, class %v", err, fault.ClassOf(err))
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("the configure script of the other archive ran")
	}
	if _, err := os.Stat(filepath.Join(q.Work, "apr")); err == nil {
		t.Error("the other archive was left unpacked")
	}
	nothingLeft(t, q)
}

// The header of the sources determines their release, not the name.
func TestSourcesOfAnotherReleaseAreRefused(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ file, text, is, not string }{
		"httpd":    {"include/ap_release.h", "#define AP_SERVER_MAJORVERSION_NUMBER 2\n#define AP_SERVER_MINORVERSION_NUMBER 4\n#define AP_SERVER_PATCHLEVEL_NUMBER   68\n", "2.4.68", "2.4.99"},
		"apr":      {"include/apr_version.h", "#define APR_MAJOR_VERSION 1\n#define APR_MINOR_VERSION 7\n#define APR_PATCH_VERSION 6\n", "1.7.6", "1.7.60"},
		"apr-util": {"include/apu_version.h", "#define APU_MAJOR_VERSION 1\n#define APU_MINOR_VERSION 6\n#define APU_PATCH_VERSION 4\n", "1.6.4", "2.6.4"},
		"pcre2":    {"src/pcre2.h.generic", "#define PCRE2_MAJOR           10\n#define PCRE2_MINOR           46\n", "10.46", "10.49"},
		"expat":    {"expat/lib/expat.h", "#  define XML_MAJOR_VERSION 2\n#  define XML_MINOR_VERSION 5\n#  define XML_MICRO_VERSION 0\n", "2.5.0", "2.9.0"},
	} {
		at := filepath.Join(dir, name)
		if err := writeFile(filepath.Join(at, c.file), []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := checkRelease(Component{Name: name, Version: c.is}, at); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		err := checkRelease(Component{Name: name, Version: c.not}, at)
		if fault.ClassOf(err) != fault.Source || !strings.Contains(err.Error(), c.is) || !strings.Contains(err.Error(), c.not) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCancelledBuild(t *testing.T) {
	q := fake(t, map[string]string{"apr": "sleep 300 & echo $! >child; echo started; wait\n"}, "")
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("enough")
	child := filepath.Join(q.Work, "apr/child")
	go func() {
		for ctx.Err() == nil {
			if data, err := os.ReadFile(child); err == nil && bytes.HasSuffix(data, []byte("\n")) {
				cancel(stop)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	_, err := Build(ctx, q)
	if !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	nothingLeft(t, q)
	data, err := os.ReadFile(child)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	// It was killed, but disappears only after its new parent has waited for it, and
	// after it got a processor to end on.
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		state, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err == nil && strings.Contains(string(state), ") Z ") || err != nil && (!errors.Is(err, os.ErrNotExist) || syscall.Kill(pid, 0) != nil) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d goes on: %s", pid, state)
		}
	}
}

// Tools do not see the caller's environment or files in /tmp.
func TestToolsGetTheirOwnTemporaryDirectory(t *testing.T) {
	q := fake(t, map[string]string{"apr": "echo \"TMPDIR is $TMPDIR\"; [ -d \"$TMPDIR\" ] && [ \"$TMPDIR\" != /no/such ] && echo it exists; exit 1\n"}, "")
	q.Host.Env = append(q.Host.Env, "TMPDIR=/no/such")
	_, err := Build(t.Context(), q)
	var tool *run.Error
	if !errors.As(err, &tool) || len(tool.Tail) < 2 || tool.Tail[len(tool.Tail)-1] != "it exists" {
		t.Errorf("got %v, %+v", err, tool)
	}
}

func TestEventsOfAFailure(t *testing.T) {
	q := fake(t, map[string]string{"apr": "exit 1\n"}, "")
	events := make(chan event.Event, 1000)
	q.Events = func(e event.Event) { events <- e }
	if _, err := Build(t.Context(), q); err == nil {
		t.Fatal("it was built")
	}
	close(events)
	began, ended := map[string]bool{}, map[string]bool{}
	failed := ""
	for e := range events {
		switch e.Kind {
		case event.Start:
			began[e.Step] = true
		case event.Done, event.Failed:
			ended[e.Step] = true
			if e.Kind == event.Failed && failed == "" {
				failed = e.Step
			}
		}
	}
	if failed != "configure apr" || len(began) != len(ended) || began["configure httpd"] {
		t.Errorf("failed %q, began %v, ended %v", failed, began, ended)
	}
}

func TestProbe(t *testing.T) {
	dir := t.TempDir()
	// It has only zlib and a new OpenSSL.
	cc := filepath.Join(dir, "cc")
	if err := os.WriteFile(cc, []byte("#!/bin/sh\ncase \"$*\" in *-lz*|*-lssl*) for w; do [ \"$l\" != -o ] || echo >\"$w\"; l=$w; done; exit 0 ;; esac\n"+
		"case \"$*\" in *-lxml2*) [ ! -e \"$0.full\" ] || { echo 'cc: x.s: No space left on device' >&2; exit 1; } ;; esac\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	tc := &toolchain.Toolchain{CC: []string{cc}, Family: "debian", Env: []string{"PATH=" + dir}}
	h, err := Probe(t.Context(), &run.Runner{}, tc, t.TempDir())
	if err != nil || h.Expat {
		t.Fatalf("got %+v, %v", h, err)
	}
	if got, err := h.Select(nil, nil, Auto); err != nil || !slices.Equal(got.Features, []string{"deflate", "tls"}) {
		t.Errorf("got %v, %v from %v", got, err, h.Has)
	}
	// Without free space nothing is known about a feature.
	if err := os.WriteFile(cc+".full", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if h, err := Probe(t.Context(), &run.Runner{}, tc, t.TempDir()); h != nil || fault.ClassOf(err) != fault.Environment || !strings.Contains(fault.HintOf(err), "TMPDIR") {
		t.Errorf("a full disk: %+v, %v (%s)", h, err, fault.HintOf(err))
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	cancel(stop)
	if h, err := Probe(ctx, &run.Runner{}, tc, t.TempDir()); h != nil || !errors.Is(err, stop) {
		t.Errorf("cancelled: %v, %v", h, err)
	}
}

// A makefile that only make understands is not a failure: make builds it, from fresh
// sources.
func TestFallsBackToMake(t *testing.T) {
	q := fake(t, map[string]string{"apr": "[ ! -e Makefile ] || exit 9\nprintf 'ifdef X\\nendif\\n' >Makefile\n"}, "echo 'make was called' >&2; exit 2\n")
	var mu sync.Mutex
	var notes []string
	q.Events = func(e event.Event) {
		if e.Kind == event.Note {
			mu.Lock()
			notes = append(notes, e.Text)
			mu.Unlock()
		}
	}
	_, err := Build(t.Context(), q)
	var tool *run.Error
	if !errors.As(err, &tool) || !strings.Contains(err.Error(), "compile apr") || !slices.Contains(tool.Tail, "make was called") {
		t.Errorf("got %v, %+v", err, tool)
	}
	if len(notes) != 1 || !strings.Contains(notes[0], "with make and libtool") || !strings.Contains(notes[0], "ifdef X") {
		t.Errorf("notes %q", notes)
	}
	nothingLeft(t, q)
}

// withoutMake returns a directory for PATH with all programs of this machine but make.
func withoutMake(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if name := e.Name(); filepath.IsAbs(dir) && !strings.HasSuffix(name, "make") {
				_ = os.Symlink(filepath.Join(dir, name), filepath.Join(bin, name)) // the first in PATH counts
			}
		}
	}
	return bin
}

// If only make understands a makefile and the host has none, this is reported without
// another attempt.
func TestNotUnderstoodWithoutMake(t *testing.T) {
	q := fake(t, map[string]string{"apr": "printf 'ifdef X\\nendif\\n' >Makefile\n"}, "")
	q.Host.Env = []string{"PATH=" + withoutMake(t)}
	var mu sync.Mutex
	var texts []string
	q.Events = func(e event.Event) {
		mu.Lock()
		defer mu.Unlock()
		texts = append(texts, e.Text)
	}
	_, err := Build(t.Context(), q)
	if fault.ClassOf(err) != fault.Environment || !strings.Contains(fault.HintOf(err), "apt-get install make") ||
		!strings.Contains(err.Error(), "the native build driver failed (compile apr: read ") || !strings.Contains(err.Error(), "ifdef X") || !strings.Contains(err.Error(), "make, which could replace it, was not found") {
		t.Errorf("got %v, hint %q", err, fault.HintOf(err))
	}
	if all := strings.Join(texts, "\n"); strings.Contains(all, "building with make") {
		t.Errorf("%s", all)
	}
	nothingLeft(t, q)
}

// Automake's silent rules print a line before each command on a host without make, which
// the native driver would not understand.
func TestSilentRulesAreDisabled(t *testing.T) {
	q := fake(t, map[string]string{"apr": "sleep 60\n"}, "")
	q.Components[len(q.Components)-1] = source(t, t.TempDir(), "pcre2", "for word; do [ \"$word\" != --disable-silent-rules ] || { echo it is disabled >&2; exit 7; }; done\nexit 8\n")
	_, err := Build(t.Context(), q)
	var tool *run.Error
	if !errors.As(err, &tool) || !slices.Contains(tool.Tail, "it is disabled") {
		t.Errorf("got %v", err)
	}
}

func TestDriverNames(t *testing.T) {
	for name, want := range map[string]Driver{"": Native, "auto": Native, "native": Native, "make": Make} {
		if got, err := ParseDriver(name); got != want || err != nil {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
	if _, err := ParseDriver("ninja"); fault.ClassOf(err) != fault.Usage || !strings.Contains(err.Error(), "ninja") {
		t.Errorf("got %v", err)
	}
}

// Only one of the drivers needs make.
func TestMakeIsMissing(t *testing.T) {
	q := fake(t, nil, "")
	q.Host.Env = []string{"PATH=" + t.TempDir()}
	q.Driver = Make
	if err := errors.Join(q.Host.CheckDriver(Native), q.Host.CheckDriver("")); err != nil {
		t.Error(err)
	}
	if err := q.Host.CheckDriver(Make); fault.ClassOf(err) != fault.Environment {
		t.Errorf("got %v", err)
	}
	_, err := Build(t.Context(), q)
	if fault.ClassOf(err) != fault.Environment || !strings.Contains(fault.HintOf(err), "apt-get install make") {
		t.Errorf("without make: %v, hint %q", err, fault.HintOf(err))
	}
	nothingLeft(t, q)
}

// With the real compiler, the libraries loaded at run time are known.
func TestProbeKnowsTheLibraries(t *testing.T) {
	if _, err := run.LookPath("make", os.Environ()); err != nil {
		t.Skip(err)
	}
	tc, err := toolchain.Find(t.Context(), &run.Runner{}, os.Environ(), t.TempDir())
	if err != nil {
		t.Skip(err)
	}
	h, err := Probe(t.Context(), &run.Runner{}, tc, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, lib := range map[string]string{"deflate": "libz.so.", "tls": "libssl.so.", "expat": "libexpat.so."} {
		has := h.Has[name] || name == "expat" && h.Expat
		found := slices.ContainsFunc(h.Linked[name], func(s string) bool { return strings.HasPrefix(s, lib) })
		if strings.Contains(tc.Target, "linux") && has != found {
			t.Errorf("%s: there %v, links %v", name, has, h.Linked[name])
		}
	}
	if _, ok := h.Has["expat"]; ok {
		t.Error("expat passes for a feature")
	}
}
