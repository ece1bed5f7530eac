//go:build unix

package scripttest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"modwsgi/internal/elf/elftest"
)

// fakeCC writes a C compiler into DIR: a script that says what a compiler says, and
// whose programs do nothing. Beside it are the other programs that a build of httpd
// needs.
func fakeCC(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: fake-cc DIR")
	}
	const script = `#!/bin/sh
case "$*" in
-dumpmachine) echo MACHINE-linux-gnu; exit ;;
--version) echo 'fake cc 1.0'; exit ;;
-E*) echo 'glibc 2 36'; exit ;;
-print-prog-name=*) exit ;;
esac
out=a.out
while [ $# -gt 0 ]; do
	[ "$1" = -o ] && out=$2
	shift
done
printf '#!/bin/sh\n' >"$out"
`
	for _, name := range strings.Fields("ar nm awk sed grep expr sort tr uname") {
		write(ts, filepath.Join(ts.MkAbs(args[0]), name), []byte("#!/bin/sh\n"), 0o755)
	}
	write(ts, filepath.Join(ts.MkAbs(args[0]), "cc"), []byte(strings.ReplaceAll(script, "MACHINE", elfMachine())), 0o755)
}

// fakeInstall puts into an environment of fake-python, of Python 3.11.2, what
// modwsgi install places: an httpd, the module with its receipt, and the launcher. In
// tests of the launcher that is the real one, and the httpd is the fake that runs.
func fakeInstall(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 || len(args) > 2 {
		ts.Fatalf("usage: fake-install DIR [VERSION]")
	}
	dir, version := ts.MkAbs(args[0]), "5.0.2"
	if len(args) > 1 {
		version = args[1]
	}
	site := filepath.Join(dir, "lib", "python3.11", "site-packages")
	fakeHTTPD(ts, false, []string{filepath.Join(site, "mod_wsgi_packages", "httpd")})
	soabi := "cpython-311-" + elfMachine() + "-linux-gnu"
	module := elftest.File{Machine: machines[elfMachine()], Needed: []string{"libpython3.11.so.1.0"}, RunPath: dir + "-base/lib", Exports: map[string][]byte{"wsgi_module": elftest.Words(20120211, 142)}}.Bytes()
	sum := sha256.Sum256(module)
	file := "mod_wsgi-py311." + soabi + ".so"
	receipt, err := json.MarshalIndent(map[string]any{
		"schema": 1, "tool": "0.1.0-test", "key": strings.Repeat("0", 64),
		"module": map[string]any{"file": file, "version": version, "sha256": hex.EncodeToString(sum[:])},
		"python": map[string]any{"version": "3.11.2", "soabi": soabi, "prefix": dir, "base_prefix": dir + "-base", "libpython": dir + "-base/lib/libpython3.11.so.1.0"},
		"httpd": map[string]any{
			"provenance": "bundled", "version": "2.4.68", "mmn": 20120211, "executable": "mod_wsgi_packages/httpd/bin/httpd",
			"modules_dir": "mod_wsgi_packages/httpd/modules", "rotatelogs": "mod_wsgi_packages/httpd/bin/rotatelogs", "mpms": []string{"event", "worker", "prefork"},
		},
	}, "", "  ")
	ts.Check(err)
	write(ts, filepath.Join(site, "mod_wsgi", "__init__.py"), nil, 0o644)
	write(ts, filepath.Join(site, "mod_wsgi", "server", file), module, 0o755)
	write(ts, filepath.Join(site, "mod_wsgi", "server", "build.json"), append(receipt, '\n'), 0o644)
	launcher := filepath.Join(dir, "bin", "mod_wsgi-express")
	write(ts, launcher, []byte("#!/bin/sh\n"), 0o755)
	if real["mod_wsgi-express"] != nil {
		own, err := os.Executable()
		ts.Check(err)
		for _, name := range []string{launcher, filepath.Join(site, "mod_wsgi_packages", "httpd", "bin", "httpd")} {
			ts.Check(os.Remove(name))
			ts.Check(hardLink(own, name))
		}
	}
	fakeDist(ts, site, "mod_wsgi", version, filepath.Join(site, "mod_wsgi"), launcher)
	fakeDist(ts, site, "mod_wsgi_httpd", "2.4.68", filepath.Join(site, "mod_wsgi_packages"))
}

// fakeDist writes the metadata of an installed distribution, with the hashes of
// everything below names (PyPA specification "Recording installed projects").
func fakeDist(ts *testscript.TestScript, site, name, version string, names ...string) {
	info := filepath.Join(site, name+"-"+version+".dist-info")
	write(ts, filepath.Join(info, "METADATA"), fmt.Appendf(nil, "Metadata-Version: 2.1\nName: %s\nVersion: %s\n", strings.ReplaceAll(name, "_httpd", "-httpd"), version), 0o644)
	write(ts, filepath.Join(info, "INSTALLER"), []byte("modwsgi\n"), 0o644)
	var b strings.Builder
	for _, name := range append(names, info) {
		ts.Check(filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			rel, err := filepath.Rel(site, path)
			if err != nil {
				return err
			}
			data, err := os.ReadFile(path)
			sum := sha256.Sum256(data)
			fmt.Fprintf(&b, "%s,sha256=%s,%d\n", rel, base64.RawURLEncoding.EncodeToString(sum[:]), len(data))
			return err
		}))
	}
	fmt.Fprintf(&b, "%s/RECORD,,\n", filepath.Base(info))
	write(ts, filepath.Join(info, "RECORD"), []byte(b.String()), 0o644)
}

// hardLink is a copy where the file systems differ.
func hardLink(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return writeFile(to, data, 0o755)
}
