//go:build acceptance && linux

package acceptance

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Root file systems of Debian releases, from the archives that scripts/debian-roots
// makes. As root, tests enter them with chroot; as another user, in a user namespace
// with subordinate ids.

// suiteRoot is a root file system that one test has for itself.
type suiteRoot struct{ dir, suite, host string }

// namespace returns the command that runs another one as root, with its own mounts and
// processes, or skips the test.
func namespace(t *testing.T) []string {
	t.Helper()
	argv := []string{"unshare", "--mount", "--pid", "--fork", "--kill-child"}
	if os.Geteuid() != 0 {
		argv = []string{"unshare", "--user", "--map-root-user", "--map-auto", "--mount", "--pid", "--fork", "--kill-child"}
	}
	if out, err := exec.CommandContext(t.Context(), argv[0], append(argv[1:], "true")...).CombinedOutput(); err != nil {
		t.Skipf("root file systems need root, or user namespaces and subordinate ids (uidmap): %v, %s", err, out)
	}
	return argv
}

// debianRoot unpacks the root file system of a suite, with the programs in
// /opt/modwsgi-test/bin, archives in /opt/modwsgi-test/sources, and the downloads of
// the tests' cache. host is "bare" or "complete". The test is skipped if it was not
// made, and if this run is for other suites (MODWSGI_TEST_SUITES).
func debianRoot(t *testing.T, suite, host string) *suiteRoot {
	t.Helper()
	if chosen := os.Getenv("MODWSGI_TEST_SUITES"); chosen != "" && !slices.Contains(strings.Fields(chosen), suite) {
		t.Skipf("this run tests in %s, not in %s", chosen, suite)
	}
	archive := filepath.Join(setting(t, "MODWSGI_TEST_DEBIAN"), suite+"-"+host+".tar.zst")
	if _, err := os.Stat(archive); err != nil {
		t.Skipf("%s does not exist: run scripts/debian-roots %s", archive, suite)
	}
	enter := namespace(t)
	dir := workdir(t, "root")
	t.Cleanup(func() {
		argv := append(slices.Clone(enter), "rm", "-rf", dir)
		if out, err := exec.CommandContext(context.WithoutCancel(t.Context()), argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Errorf("remove %s: %v, %s", dir, err, out)
		}
	})
	must(t, "/", bareEnv(), append(slices.Clone(enter), "sh", "-euc", `
tar --numeric-owner --exclude='./dev/*' --zstd -xpf "$0" -C "$1"
mkdir -p "$1/opt/modwsgi-test/downloads"
cp -r "$2" "$1/opt/modwsgi-test/bin"
cp -r "$3" "$1/opt/modwsgi-test/sources"
if [ -d "$4" ]; then
	cp -r "$4" "$1/opt/modwsgi-test/downloads/archives"
	find "$4" -name 'mod_wsgi-*.tar.gz' -exec cp {} "$1/opt/modwsgi-test/sources" ';'
fi
`, archive, dir, setting(t, "MODWSGI_TEST_BIN"), setting(t, "MODWSGI_TEST_SOURCES"), filepath.Join(setting(t, "MODWSGI_TEST_CACHE"), "downloads/archives"))...)
	return &suiteRoot{dir, suite, host}
}

// run runs a shell script in the root file system. Its mounts and processes end with
// it.
func (r *suiteRoot) run(t *testing.T, script string, more ...string) result {
	t.Helper()
	const enter = `
mount -t proc proc "$0/proc"
mount -t tmpfs tmpfs "$0/dev"
for name in null zero full random urandom tty; do
	touch "$0/dev/$name"
	mount --bind "/dev/$name" "$0/dev/$name"
done
mkdir "$0/dev/shm"
mount -t tmpfs tmpfs "$0/dev/shm"
mount -t tmpfs tmpfs "$0/tmp"
[ ! -e /etc/resolv.conf ] || cat /etc/resolv.conf >"$0/etc/resolv.conf"
exec chroot "$0" /bin/sh -c "$1"
`
	env := append([]string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8",
		"http_proxy=" + os.Getenv("http_proxy"), "https_proxy=" + os.Getenv("https_proxy"),
	}, more...)
	return command(t, "/", env, append(namespace(t), "sh", "-euc", enter, r.dir, "set -u\ncd /tmp\nbin=/opt/modwsgi-test/bin\n"+script)...)
}
