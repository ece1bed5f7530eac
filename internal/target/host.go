package target

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"

	"modwsgi/internal/fault"
)

// Host returns this machine, with its libc read from files: nothing is run. The error is
// for a Linux without a libc where the processor's loader belongs.
func Host() (Target, error) { return host() }

// host reads the libc once: it has two megabytes, and every name of a target is compared
// with this machine.
var host = sync.OnceValues(func() (Target, error) {
	t := Target{OS: runtime.GOOS, Arch: runtime.GOARCH}
	if t.Arch == "arm" {
		t.Variant = "v7"
	}
	if t.OS != Linux {
		return t, nil
	}
	return HostAt(t, "/")
})

// HostAt adds the libc in a root directory to a Linux target.
func HostAt(t Target, root string) (Target, error) {
	t.Libc = Glibc
	for _, libc := range []string{Glibc, Musl} {
		t.Libc = libc
		loader := filepath.Join(root, t.Loader())
		if _, err := os.Stat(loader); err != nil {
			continue
		}
		version, err := libcVersion(loader, libc)
		if err != nil {
			return t, fault.New(fault.Environment, "name the target with its libc, as in linux/"+t.Arch+"/glibc2.28", "read the version of this machine's libc: %w", err)
		}
		t.LibcVersion = version
		return t, nil
	}
	return t, fault.New(fault.Environment, "name the target with its libc, as in linux/"+t.Arch+"/glibc2.28", "this machine has neither glibc nor musl where programs look for it")
}

// libcVersion reads "2.36" or "1.2" from a loader: the newest symbol version of the libc
// that belongs to glibc's, or the version that musl's prints.
func libcVersion(loader, libc string) (string, error) {
	if libc == Musl {
		return MuslVersion(loader)
	}
	real, err := filepath.EvalSymlinks(loader)
	if err != nil {
		return "", err
	}
	var errs []error
	for _, dir := range []string{filepath.Dir(real), filepath.Dir(loader)} {
		v, err := GlibcVersion(filepath.Join(dir, "libc.so.6"))
		if err == nil {
			return v, nil
		}
		errs = append(errs, err)
	}
	// Without the library next to it, the loader itself has few versions, but names its release.
	data, err := os.ReadFile(real)
	if m := releaseText.FindSubmatch(data); err == nil && m != nil {
		return string(m[1]), nil
	}
	return "", errors.Join(errs...)
}

var (
	releaseText = regexp.MustCompile(`(?:stable|development) release version ([0-9]+\.[0-9]+)`)
	muslText    = regexp.MustCompile(`\x00(1\.[0-9]{1,2}\.[0-9]{1,3})\x00`)
)

// GlibcVersion returns the version of glibc that a libc.so.6 names in its banner: "2.31".
// Without one, it is the newest of its symbol versions; not every release has new symbols.
func GlibcVersion(file string) (string, error) {
	data, err := readLibc(file)
	if err != nil {
		return "", err
	}
	if m := releaseText.FindSubmatch(data); m != nil {
		return string(m[1]), nil
	}
	return newestVersion(file)
}

// maxLibc is the maximum size of a libc in bytes.
const maxLibc = 64 << 20

func readLibc(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxLibc {
		return nil, fmt.Errorf("%s: too large for a libc", file)
	}
	return os.ReadFile(file)
}

func newestVersion(file string) (string, error) {
	f, err := elf.Open(file)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	versions, err := f.DynamicVersions()
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	best := ""
	for _, v := range versions {
		if n, ok := strings.CutPrefix(v.Name, "GLIBC_2."); ok && strings.Trim(n, "0123456789.") == "" && (best == "" || Compare("2."+n, best) > 0) {
			best = "2." + n
		}
	}
	if best == "" {
		return "", fmt.Errorf("%s: it defines no versions of glibc", file)
	}
	return best, nil
}

// MuslVersion returns "1.2" of the release that musl's libc contains as a text.
func MuslVersion(file string) (string, error) {
	full, err := MuslRelease(file)
	if err != nil {
		return "", err
	}
	return MuslSeries(full), nil
}

// MuslSeries returns "1.2" of the release "1.2.3", as targets name it.
func MuslSeries(release string) string {
	return strings.Join(strings.SplitN(release, ".", 3)[:2], ".")
}

// MuslRelease returns the release of musl's libc: "1.2.3".
func MuslRelease(file string) (string, error) {
	data, err := readLibc(file)
	if err != nil {
		return "", err
	}
	all := muslText.FindAllSubmatch(data, -1)
	if !strings.Contains(string(data), "musl libc") || len(all) == 0 {
		return "", fmt.Errorf("%s: it does not name a release of musl", file)
	}
	return string(all[0][1]), nil
}
