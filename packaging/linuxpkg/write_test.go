//go:build linux

package linuxpkg

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/files"
	"github.com/goreleaser/nfpm/v2/rpm"

	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/internal/receipt"
	"modwsgi/internal/relocate"
	"modwsgi/internal/run"
	"modwsgi/packaging"
	"modwsgi/packaging/sign"
)

// stageDir makes a stage with a module for the system's Apache. The module is a
// library of this machine, as its behaviour does not matter here.
func stageDir(t *testing.T) *packaging.Stage {
	t.Helper()
	library := Host{Root: "/"}.find("libexpat.so.1", "x86_64", 64).path
	if library == "" {
		t.Skip("libexpat, which stands in for the module, was not found")
	}
	site := t.TempDir()
	server := filepath.Join(site, "mod_wsgi/server")
	if err := os.MkdirAll(server, 0o755); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(library)
	if err != nil {
		t.Fatal(err)
	}
	file := "mod_wsgi-py311.cpython-311-x86_64-linux-gnu.so"
	if err := os.WriteFile(filepath.Join(server, file), data, 0o755); err != nil {
		t.Fatal(err)
	}
	r := receipt.Receipt{Tool: "0", Module: receipt.Module{File: file, Version: "5.0.2"}}
	r.Python = receipt.Python{Version: "3.11.2", Prefix: "/usr", BasePrefix: "/usr"}
	r.HTTPD = receipt.HTTPD{Provenance: "system", Version: "2.4.62", MMN: 20120211}
	if err := os.WriteFile(filepath.Join(server, "build.json"), r.Encode(), 0o644); err != nil {
		t.Fatal(err)
	}
	return &packaging.Stage{
		Site: site, Time: time.Unix(1_700_000_000, 0).UTC(), Tool: "0",
		Module: &packaging.Module{
			Package: "mod_wsgi", File: "mod_wsgi/server/" + file, Receipt: receipt.Path, Version: "5.0.2", HTTPD: "2.4.62",
			Components: []packaging.Component{packaging.SourceComponent("mod_wsgi", "5.0.2", "Apache-2.0", "")},
			Python:     packaging.Python{Version: "3.11.2", Tag: "cp311", ABI: "cp311", Platform: "linux-x86_64"},
		},
	}
}

func options(f Format) Options {
	return Options{
		Format: f, Maintainer: "Jane Doe <jane@debian.org>", Env: []string{"PATH=/usr/bin:/bin"},
		Depends: map[Format][]string{Deb: {"python3.11"}}[f], // so that this machine's Python does not matter
	}
}

func write(t *testing.T, dir string, s *packaging.Stage, o Options) (*packaging.Artifact, error) {
	t.Helper()
	d, err := packaging.Open(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Abort()
	a, _, err := Write(t.Context(), d, s, o)
	if err != nil {
		return nil, err
	}
	index, err := json.Marshal(packaging.Index{Schema: 1, Artifacts: []packaging.Artifact{*a}})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Meta(packaging.IndexName, index); err != nil {
		t.Fatal(err)
	}
	return a, d.Commit()
}

func needsDpkg(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/var/lib/dpkg/status"); err != nil {
		t.Skip("this machine has no dpkg")
	}
}

func TestSameBytesElsewhereAndLater(t *testing.T) {
	needsDpkg(t)
	for _, f := range []Format{Deb, RPM, APK} {
		one, two := stageDir(t), stageDir(t)
		old := time.Unix(1_000_000_000, 0)
		if err := os.Chtimes(filepath.Join(two.Site, filepath.FromSlash(two.Module.File)), old, old); err != nil {
			t.Fatal(err)
		}
		a, err := write(t, filepath.Join(t.TempDir(), "dist"), one, options(f))
		if err != nil {
			t.Fatalf("%s: %v (%s)", f, err, fault.HintOf(err))
		}
		b, err := write(t, filepath.Join(t.TempDir(), "a b", "dist"), two, options(f))
		if err != nil {
			t.Fatal(err)
		}
		if a.SHA256 != b.SHA256 || a.Name != b.Name || a.Size == 0 {
			t.Errorf("%s: %+v, then %+v", f, a, b)
		}
	}
}

func TestStagesThatCannotBePackaged(t *testing.T) {
	needsDpkg(t)
	module := func(s *packaging.Stage) string { return filepath.Join(s.Site, filepath.FromSlash(s.Module.File)) }
	for name, c := range map[string]struct {
		spoil func(*testing.T, *packaging.Stage, *Options)
		want  []string
	}{
		"missing library": {func(t *testing.T, s *packaging.Stage, _ *Options) { rename(t, module(s), "libc.so.6", "libq.so.6") }, []string{"libq.so.6", "mod_wsgi-py311.so", "neither in the tree nor on this machine"}},
		"other CPU":       {func(t *testing.T, s *packaging.Stage, _ *Options) { machine(t, module(s), elf.EM_AARCH64) }, []string{"aarch64"}},
		"run path": {func(t *testing.T, s *packaging.Stage, _ *Options) {
			where := "/build/machine/lib"
			if err := relocate.Rewrite(module(s), relocate.Edit{RunPath: &where}); err != nil {
				t.Fatal(err)
			}
		}, []string{"mod_wsgi-py311.so has the absolute run path /build/machine/lib"}},
		"unreadable": {func(t *testing.T, s *packaging.Stage, _ *Options) {
			if os.Geteuid() == 0 {
				t.Skip("root can read everything")
			}
			if err := os.Chmod(module(s), 0); err != nil {
				t.Fatal(err)
			}
		}, []string{"permission denied"}},
		"no module": {func(t *testing.T, s *packaging.Stage, _ *Options) { remove(t, module(s)) }, []string{"inspect the module", "no such file"}},
		"no ELF":    {func(t *testing.T, s *packaging.Stage, _ *Options) { overwrite(t, module(s), "text") }, []string{"inspect the module"}},
		"damaged record": {func(t *testing.T, s *packaging.Stage, _ *Options) {
			overwrite(t, filepath.Join(s.Site, receipt.Path), "{")
		}, []string{"read the record of the module"}},
		"record of a wheel": {func(t *testing.T, s *packaging.Stage, _ *Options) {
			overwrite(t, filepath.Join(s.Site, receipt.Path), "{}")
		}, []string{"does not name its Python"}},
		"strange version": {func(_ *testing.T, s *packaging.Stage, _ *Options) { s.Module.Version = "5.0; rm -rf /" }, []string{`"5.0; rm -rf /"`}},
		"foreign Python": {func(t *testing.T, s *packaging.Stage, o *Options) {
			o.Depends = nil
			overwrite(t, filepath.Join(s.Site, receipt.Path), `{"python":{"version":"3.11.2","base_prefix":"/opt/py"}}`)
		}, []string{"/opt/py", "belongs to no package of this system"}},
		"no dpkg": {func(t *testing.T, _ *packaging.Stage, o *Options) { o.Host.Root = foreignRoot(t) }, []string{"has no dpkg records", "libc.so.6"}},
		"unknown owner": {func(t *testing.T, _ *packaging.Stage, o *Options) {
			o.Host.Root = foreignRoot(t)
			if err := os.MkdirAll(filepath.Join(o.Host.Root, "var/lib/dpkg"), 0o755); err != nil {
				t.Fatal(err)
			}
			overwrite(t, filepath.Join(o.Host.Root, "var/lib/dpkg/status"), "")
		}, []string{"no known Debian package contains", "libc.so.6"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, o := stageDir(t), options(Deb)
			c.spoil(t, s, &o)
			dist := filepath.Join(t.TempDir(), "dist")
			_, err := write(t, dist, s, o)
			if err == nil {
				t.Fatal("it was packaged")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("lacks %q: %v", w, err)
				}
			}
			if strings.Contains(err.Error(), ".scratch") || fault.HintOf(err) == "" {
				t.Errorf("not for a user: %v (%s)", err, fault.HintOf(err))
			}
			if _, err := os.Stat(dist); err == nil {
				t.Error("there is an output directory afterwards")
			}
		})
	}
}

// foreignRoot is a machine with the C library but no record of its package.
func foreignRoot(t *testing.T) string {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "lib64"), 0o755); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(Host{Root: "/"}.find("libc.so.6", "x86_64", 64).path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "lib64/libc.so.6"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	return root
}

func rename(t *testing.T, name, from, to string) {
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	overwrite(t, name, string(bytes.ReplaceAll(data, []byte(from+"\x00"), []byte(to+"\x00"))))
}

func machine(t *testing.T, name string, m elf.Machine) {
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint16(data[18:], uint16(m))
	overwrite(t, name, string(data))
}

func overwrite(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, name string) {
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
}

// TestMappedLibrary names the package of an unknown library.
func TestMappedLibrary(t *testing.T) {
	needsDpkg(t)
	s, o := stageDir(t), options(Deb)
	rename(t, filepath.Join(s.Site, filepath.FromSlash(s.Module.File)), "libc.so.6", "libq.so.6")
	o.Depends = append(o.Depends, "libq.so.6=libq6 (>= 1.2)")
	dist := filepath.Join(t.TempDir(), "dist")
	a, err := write(t, dist, s, o)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dist, a.Name))
	if err != nil || !bytes.HasPrefix(data, []byte("!<arch>\n")) {
		t.Errorf("%v %.20q", err, data)
	}
	if sum, err := digest.File(filepath.Join(dist, a.Name)); err != nil || sum != a.SHA256 {
		t.Errorf("%s %v", sum, err)
	}
}

// TestSignedRPM verifies both signatures of a package with the public key.
func TestSignedRPM(t *testing.T) {
	at := time.Unix(1_750_000_000, 0)
	config := &packet.Config{Time: func() time.Time { return at }, Algorithm: packet.PubKeyAlgoRSA, RSABits: 2048}
	entity, err := openpgp.NewEntity("Jane", "", "jane@debian.org", config)
	if err != nil {
		t.Fatal(err)
	}
	var secret bytes.Buffer
	if err := entity.SerializePrivate(&secret, config); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, secret.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := sign.NewOpenPGP(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	key.Now = func() time.Time { return at }
	o := options(RPM)
	o.Sign = func(data []byte) ([]byte, error) { return key.Sign("", data, at) }
	dist := filepath.Join(t.TempDir(), "dist")
	a, err := write(t, dist, stageDir(t), o)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dist, a.Name))
	if err != nil {
		t.Fatal(err)
	}
	signature, rest, err := cutHeader(data[rpmLead:])
	if err != nil {
		t.Fatal(err)
	}
	rest = rest[(8-len(signature.raw)%8)%8:]
	header, _, err := cutHeader(rest)
	if err != nil {
		t.Fatal(err)
	}
	for tag, signed := range map[uint32][]byte{268: header.raw, 1002: rest} { // RSA of the header, PGP of all
		made, err := signature.blob(tag)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := openpgp.CheckDetachedSignature(openpgp.EntityList{entity}, bytes.NewReader(signed), bytes.NewReader(made), config); err != nil {
			t.Errorf("signature %d: %v", tag, err)
		}
		if _, err := openpgp.CheckDetachedSignature(openpgp.EntityList{entity}, bytes.NewReader(signed[1:]), bytes.NewReader(made), config); err == nil {
			t.Errorf("signature %d is for anything", tag)
		}
	}
}

// TestScriptNeeds: rpm knows which script needs which program, also in a signed package.
func TestScriptNeeds(t *testing.T) {
	tool, err := exec.LookPath("rpm")
	if err != nil {
		t.Skip("this machine has no rpm")
	}
	entity, err := openpgp.NewEntity("Jane", "", "jane@debian.org", &packet.Config{RSABits: 2048, Algorithm: packet.PubKeyAlgoRSA})
	if err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(t.TempDir(), "script")
	overwrite(t, script, "exit 0\n")
	for _, sign := range []func([]byte) ([]byte, error){nil, func(data []byte) ([]byte, error) {
		var signature bytes.Buffer
		err := openpgp.ArmoredDetachSign(&signature, entity, bytes.NewReader(data), nil)
		return signature.Bytes(), err
	}} {
		p := &pkg{
			Name: "x", Arch: "x86_64", Version: "1", Release: "1", Maintainer: "Jane <jane@debian.org>", License: "Apache-2.0", Summary: "x", Description: "x",
			Depends: append([]string{"/bin/sh", "python(abi) = 3.11"}, accountPrograms...), Scripts: map[string]string{"preinstall": script, "postremove": script},
			Entries: []entry{{Path: "/opt/x", From: script, Kind: "file", Mode: 0o644}}, Time: time.Unix(1_750_000_000, 0), Sign: sign,
		}
		file := filepath.Join(t.TempDir(), "x.rpm")
		out, err := os.Create(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(pack(RPM, p, out), out.Close()); err != nil {
			t.Fatal(err)
		}
		said, err := exec.CommandContext(t.Context(), tool, "-qp", "--nosignature", "--qf", `[%{REQUIRENAME} %{REQUIREFLAGS:deptype}\n]`, file).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"/usr/sbin/useradd pre\n", "/usr/sbin/groupadd pre\n", "/usr/bin/getent pre\n", "/bin/sh pre,postun\n", "python(abi) manual\n"} {
			if !strings.Contains(string(said), want) {
				t.Errorf("signed: %v: no %q in\n%s", sign != nil, want, said)
			}
		}
		if said, err := exec.CommandContext(t.Context(), tool, "-K", "--nosignature", file).CombinedOutput(); err != nil {
			t.Errorf("signed: %v: %v: %s", sign != nil, err, said)
		}
	}
}

// blob is the value of a binary tag.
func (h *rpmHeader) blob(tag uint32) ([]byte, error) {
	for i := range int(binary.BigEndian.Uint32(h.raw[8:])) {
		if e := h.raw[16+16*i:]; binary.BigEndian.Uint32(e) == tag {
			return h.value(tag, int(binary.BigEndian.Uint32(e[12:])))
		}
	}
	return nil, errRPM
}

// TestRelativePayload: an rpm of nfpm unpacks over the files of the machine, and after the
// correction below the current directory.
func TestRelativePayload(t *testing.T) {
	script := filepath.Join(t.TempDir(), "file")
	overwrite(t, script, "content\n")
	var out bytes.Buffer
	if err := rpm.DefaultRPM.Package(&nfpm.Info{
		Name: "x", Arch: "amd64", Platform: "linux", Version: "1", Release: "1", Maintainer: "Jane <jane@debian.org>", Description: "x", MTime: time.Unix(1_750_000_000, 0),
		Overridables: nfpm.Overridables{Contents: files.Contents{{Source: script, Destination: "/opt/x"}}, RPM: nfpm.RPM{BuildHost: "localhost", Compression: "gzip:1"}},
	}, &out); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "x.rpm")
	overwrite(t, name, out.String())
	names := func() string {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(bytes.NewReader(data[bytes.LastIndex(data, []byte{0x1f, 0x8b, 8}):]))
		if err != nil {
			t.Fatal(err)
		}
		payload, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		return string(payload)
	}
	if !strings.Contains(names(), "\x00/opt/x\x00") && !strings.Contains(names(), "0/opt/x\x00") {
		t.Error("nfpm no longer writes absolute names: this test shows nothing")
	}
	for range 2 { // once more changes nothing
		if err := RelativePayload(name); err != nil {
			t.Fatal(err)
		}
		if got := names(); !strings.Contains(got, "./opt/x\x00") || strings.Contains(got, "../opt") {
			t.Errorf("got %q", got)
		}
	}
	if tool, err := exec.LookPath("rpm"); err == nil {
		if said, err := exec.CommandContext(t.Context(), tool, "-K", "--nosignature", name).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, said)
		}
	}
}

func TestInvalidPayloads(t *testing.T) {
	for name, data := range map[string][]byte{
		"empty": nil, "short": make([]byte, 50), "zeros": make([]byte, 4096),
		"long header": append(make([]byte, rpmLead), 0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
	} {
		if _, _, _, err := relativePayload(data, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestFullDisk: an error of this machine's disk during a copy is reported as such, not
// as a problem of the stage.
func TestFullDisk(t *testing.T) {
	from := filepath.Join(t.TempDir(), "program")
	overwrite(t, from, "x")
	there := filepath.Join(t.TempDir(), "there")
	overwrite(t, there, "y")
	if err := copied(from, there, 0o755); !strings.Contains(fault.HintOf(err), "has free space") {
		t.Errorf("copied: %v (%s)", err, fault.HintOf(err))
	}
	if err := copied(from+".gone", there+".2", 0o755); !strings.Contains(fault.HintOf(err), "a complete, readable build") {
		t.Errorf("copied: %v (%s)", err, fault.HintOf(err))
	}
	strip := &run.Error{Argv: []string{"strip"}, Tail: []string{"strip: x.so: No space left on device"}, Err: errors.New("exit status 1")}
	if !isFull(strip) || isFull(&run.Error{Argv: []string{"strip"}, Tail: []string{"unknown machine"}, Err: errors.New("exit status 1")}) {
		t.Error("a tool on a full disk")
	}
	full := &os.PathError{Op: "write", Path: "x", Err: errors.New("no space left on device")}
	if err := writing(full); fault.ClassOf(err) != fault.Environment || !strings.Contains(fault.HintOf(err), "has free space") {
		t.Errorf("writing: %v (%s)", err, fault.HintOf(err))
	}
	for _, err := range []error{fault.New(fault.Usage, "do it", "%w", full), errors.New("other")} {
		if got := writing(err); !errors.Is(got, err) || got.Error() != err.Error() {
			t.Errorf("%v became %v", err, got)
		}
	}
}

// TestCheckPython: whether a package could depend on a Python is known before anything is
// built for it.
func TestCheckPython(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"var/lib/dpkg/status":                               "",
		"var/lib/dpkg/info/libpython3.11-stdlib:amd64.list": "/usr/lib/python3.11/wsgiref/__init__.py\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		overwrite(t, filepath.Join(root, name), text)
	}
	for name, c := range map[string]struct {
		format  Format
		prefix  string
		depends []string
		root    string
		want    string
	}{
		"the system's":       {Deb, "/usr", nil, root, ""},
		"pyenv's":            {Deb, "/opt/py", nil, root, "Python 3.11.2 below /opt/py belongs to no package of this system"},
		"a named package":    {Deb, "/opt/py", []string{"my-python"}, root, ""},
		"a named library":    {Deb, "/opt/py", []string{"libpython3.11.so.1.0=my-python"}, root, ""},
		"another library":    {Deb, "/opt/py", []string{"libssl.so.3=my-ssl"}, root, "belongs to no package"},
		"a wrong dependency": {Deb, "/usr", []string{"my python"}, root, "not a valid dependency"},
		"rpm":                {RPM, "/opt/py", nil, root, ""},
		"no records":         {Deb, "/opt/py", nil, t.TempDir(), ""}, // reported with the libraries
	} {
		err := CheckPython(Options{Format: c.format, Depends: c.depends, Host: Host{Root: c.root}}, "3.11.2", c.prefix, c.prefix+"/lib/libpython3.11.so.1.0")
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
