//go:build unix

package logwriter

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestIntervals(t *testing.T) {
	zone := time.FixedZone("", -3*3600-1800)
	defer func(l *time.Location) { time.Local = l }(time.Local)
	time.Local = zone
	at := func(text string) time.Time {
		v, err := time.ParseInLocation("2006-01-02 15:04:05", text, zone)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct {
		every, before, at string
		same              bool
	}{
		{"hourly", "2025-06-01 09:59:59", "2025-06-01 10:00:00", false},
		{"hourly", "2025-06-01 10:00:00", "2025-06-01 10:59:59", true},
		{"daily", "2025-06-01 23:59:59", "2025-06-02 00:00:00", false},
		{"daily", "2025-06-02 00:00:00", "2025-06-02 23:59:59", true},
		{"weekly", "2025-06-01 23:59:59", "2025-06-02 00:00:00", false}, // Sunday to Monday
		{"weekly", "2025-06-02 00:00:00", "2025-06-08 23:59:59", true},
		{"monthly", "2025-05-31 23:59:59", "2025-06-01 00:00:00", false},
		{"monthly", "2025-06-01 00:00:00", "2025-06-30 23:59:59", true},
		{"monthly", "2024-06-30 00:00:00", "2025-06-30 00:00:00", false},
		{"86400", "2025-06-01 23:59:59", "2025-06-02 00:00:00", false},
		{"10", "2025-06-01 00:00:09", "2025-06-01 00:00:10", false},
		{"10", "2025-06-01 00:00:10", "2025-06-01 00:00:19", true},
		{"", "2025-06-01 00:00:10", "2026-06-01 00:00:19", true},
	} {
		if same := interval(c.every, at(c.before)) == interval(c.every, at(c.at)); same != c.same {
			t.Errorf("%s: %s and %s are in the same interval: %v", c.every, c.before, c.at, same)
		}
	}
	for _, bad := range []string{"", "0", "-1", "1.5", "5s", "Daily", "yearly", "99999999999"} {
		if IsInterval(bad) {
			t.Errorf("%q is an interval", bad)
		}
	}
}

// all returns the content of a log's files, the full ones first. The current one does not
// exist if it has just been renamed.
func all(t *testing.T, path string) (names []string, content [][]byte) {
	t.Helper()
	names, _ = filepath.Glob(path + "*")
	slices.Sort(names)
	if k := slices.Index(names, path); k >= 0 {
		names = append(slices.Delete(names, k, k+1), path)
	}
	for _, n := range names {
		data, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		content = append(content, data)
	}
	return names, content
}

// TestSeveralWriters: programs of two httpds write to one log, rotate it by size and by
// time, and logrotate renames it. No line is lost, torn or written twice, and no file is
// larger than allowed.
func TestSeveralWriters(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "the log")
	const writers, lines, limit = 4, 3000, 4096
	var running sync.WaitGroup
	for w := range writers {
		f := &file{path: path, limit: limit, every: "1", now: time.Now, lock: openLock(dir, "lock")}
		running.Go(func() {
			for n := range lines {
				text := fmt.Sprintf("writer %d line %d %s\n", w, n, strings.Repeat("x", n%200))
				if n%7 == 0 { // two at once
					text += fmt.Sprintf("writer %d also %d\n", w, n)
				}
				if k, err := f.write([]byte(text)); err != nil || k != len(text) {
					t.Errorf("%d bytes, %v", k, err)
				}
			}
		})
	}
	stop := make(chan bool)
	running.Go(func() {
		for n := range 20 {
			time.Sleep(10 * time.Millisecond) // logrotate comes at any time
			_ = os.Rename(path, fmt.Sprintf("%s-renamed.%d", path, n))
		}
		close(stop)
	})
	running.Wait()
	<-stop
	names, content := all(t, path)
	seen := map[string]int{}
	whole := regexp.MustCompile(`^writer \d (?:line|also) \d+(?: x*)?$`)
	full := regexp.MustCompile(`^the log(?:\.\d{4}-\d\d-\d\d-\d\d_\d\d_\d\d(?:\.\d+)?|-renamed\.\d+)?$`)
	for k, data := range content {
		if !full.MatchString(filepath.Base(names[k])) {
			t.Errorf("file %s", names[k])
		}
		if len(data) > limit {
			t.Errorf("%s has %d bytes", names[k], len(data))
		}
		for line := range strings.Lines(string(data)) {
			line = strings.TrimSuffix(line, "\n")
			if !whole.MatchString(line) {
				t.Errorf("%s: %q", names[k], line)
			}
			f := strings.Fields(line)
			seen[strings.Join(f[:4], " ")]++
		}
	}
	if want := writers * (lines + (lines+6)/7); len(seen) != want {
		t.Errorf("%d lines, want %d", len(seen), want)
	}
	for line, n := range seen {
		if n != 1 {
			t.Fatalf("%q is there %d times", line, n)
		}
	}
	if len(names) < 100 {
		t.Errorf("only %d files", len(names))
	}
}

// TestRotationByTime: the first line of an interval starts a file, also if the program
// was started since, and the full one is named after its last line.
func TestRotationByTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	old := time.Date(2025, 6, 1, 23, 59, 58, 0, time.Local)
	if err := os.WriteFile(path, []byte("yesterday\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2025, 6, 2, 0, 0, 1, 0, time.Local)
	f := &file{path: path, every: "daily", now: func() time.Time { return now }}
	for _, line := range []string{"today\n", "today, too\n"} {
		if _, err := f.write([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	now = now.AddDate(0, 0, 1)
	if _, err := f.write([]byte("tomorrow\n")); err != nil {
		t.Fatal(err)
	}
	names, content := all(t, path)
	if len(names) != 3 || names[0] != path+".2025-06-01-23_59_58" {
		t.Fatalf("%q", names)
	}
	if got := string(bytes.Join(content, []byte("|"))); got != "yesterday\n|today\ntoday, too\n|tomorrow\n" {
		t.Errorf("%q", got)
	}
}

// TestKeep: the newest full files stay, compressed ones included, and no other file is
// touched.
func TestKeep(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	others := []string{"log.bak", "log2", "log.2001-01-01-00_00_00.keep", "blog.2001-01-01-00_00_00", "log-2001-01-01"}
	for _, name := range append([]string{"log.2001-01-01-00_00_00", "log.2002-01-01-00_00_00.gz", "log.2003-01-01-00_00_00.9", "log.2003-01-01-00_00_00.10"}, others...) {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := &file{path: path, limit: 5, keep: 2, now: time.Now}
	for n := range 2 {
		if _, err := fmt.Fprintf(writerFunc(f.write), "line%d\n", n); err != nil {
			t.Fatal(err)
		}
	}
	entries, _ := os.ReadDir(dir)
	var got []string
	for _, e := range entries {
		if !slices.Contains(others, e.Name()) && !strings.HasPrefix(e.Name(), "log."+time.Now().Format("2006-")) {
			got = append(got, e.Name())
		}
	}
	if want := []string{"log", "log.2003-01-01-00_00_00.10"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if len(entries) != len(others)+3 {
		t.Errorf("%v", entries)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// TestUnrotatable: if the directory cannot be changed, the log grows, and lines are not
// lost.
func TestUnrotatable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root can write everywhere")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	f := &file{path: path, limit: 10, now: time.Now}
	for n := range 5 {
		if _, err := f.write(fmt.Appendf(nil, "a line %d\n", n)); err != nil {
			t.Fatal(err)
		}
		if n == 1 {
			if err := os.Chmod(dir, 0o500); err != nil {
				t.Fatal(err)
			}
			defer os.Chmod(dir, 0o700) //nolint:errcheck // for the removal
		}
	}
	if _, content := all(t, path); strings.Count(string(bytes.Join(content, nil)), "a line") != 5 {
		t.Errorf("%q", content)
	}
}

// TestLinks: a link of our own is followed, as httpd does, and never renamed.
func TestLinks(t *testing.T) {
	dir := t.TempDir()
	path, target := filepath.Join(dir, "log"), filepath.Join(dir, "elsewhere")
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
	f := &file{path: path, limit: 5, now: time.Now}
	for range 3 {
		if _, err := f.write([]byte("12345\n")); err != nil {
			t.Fatal(err)
		}
	}
	if data, err := os.ReadFile(target); err != nil || string(data) != "12345\n12345\n12345\n" {
		t.Errorf("%q %v", data, err)
	}
	if _, err := os.Readlink(path); err != nil {
		t.Error(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Lchown(path, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		if _, err := (&file{path: path, now: time.Now}).write([]byte("x\n")); err == nil {
			t.Error("the link of another user was followed")
		}
	}
}

// TestFullDisk: lines are kept up to a limit while they cannot be written, the rest is
// counted, and the log has whole lines only.
func TestFullDisk(t *testing.T) {
	var notes bytes.Buffer
	path := filepath.Join(t.TempDir(), "log")
	if err := os.Symlink("/dev/full", path); err != nil {
		t.Fatal(err)
	}
	f := &file{path: path, now: time.Now}
	w := &writer{form: newFormer(Plain, time.Now, false, ""), sink: f, name: path, now: time.Now, own: true, notes: &notes}
	line := strings.Repeat("x", 999) + "\n"
	const n = mostPending/1000 + 500
	for range n {
		w.add([]byte(line))
	}
	if err := os.Remove(path); err != nil { // space again, in a new file
		t.Fatal(err)
	}
	_ = f.open.Close()
	f.open = nil
	w.add([]byte("last\n"))
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	kept := strings.Count(string(data), line)
	var lost int
	_, text, _ := strings.Cut(string(data), "] [express:error] [pid ")
	if _, text, _ = strings.Cut(text, "] "); text != "" {
		_, _ = fmt.Sscanf(text, "%d lines of the log", &lost)
	}
	if kept < mostPending/1000 || kept+lost != n+1 { // the last line counts as one that did not fit
		t.Errorf("%d lines are kept and %d reported, of %d; the log ends with %q", kept, lost, n, data[max(0, len(data)-300):])
	}
	if got := notes.String(); !strings.Contains(got, "no space left on device") || strings.Count(got, "cannot write the log") != 1 {
		t.Errorf("%s", got)
	}
}

func TestArguments(t *testing.T) {
	for _, s := range []Settings{
		{To: "/a b/c=d", Form: ErrorJSON, Error: true, Size: 5 << 20, Every: "daily", Keep: 3, Root: "/r"},
		{To: "stdout"},
		{To: "/x", worker: true},
	} {
		got, err := Parse(s.Args())
		if err != nil || *got != s {
			t.Errorf("%v: %v %v", s, got, err)
		}
	}
	for _, bad := range []string{"", "form=json to=/x", "to=/x size=big", "to=/x every=never", "to=/x keep=many", "to=/x colour=red"} {
		if _, err := Parse(strings.Fields(bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
