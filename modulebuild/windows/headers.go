package windows

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"modwsgi/internal/archive"
	"modwsgi/internal/fault"
	"modwsgi/internal/steps"
)

func (b *builder) prepareHTTPD(ctx context.Context, _ *steps.Log) (err error) {
	if b.HTTPDSDK != "" {
		b.httpd, err = httpdSDK(ctx, b.HTTPDSDK, b.dir("httpd-sdk"))
	} else {
		b.httpd, err = b.httpdFromSource(ctx)
	}
	if err != nil {
		return err
	}
	// Microsoft's compiler never reads it; mingw-w64 does, as it counts as an
	// environment that autoconf was run in.
	overlay := b.dir("overlay")
	if err := errors.Join(os.MkdirAll(overlay, 0o755), os.WriteFile(filepath.Join(overlay, "ap_config_auto.h"), nil, 0o644)); err != nil {
		return err
	}
	b.httpd.include = append([]string{overlay}, b.httpd.include...)
	return b.httpd.identify()
}

func (b *builder) preparePython(ctx context.Context, _ *steps.Log) (err error) {
	if b.PythonSDK != "" {
		b.python, err = pythonSDK(ctx, b.PythonSDK, b.dir("python-sdk"), b.Python)
	} else {
		b.python, err = b.pythonFromSource(ctx)
	}
	if err != nil {
		return err
	}
	return b.python.identify()
}

// importLibraries makes those that the SDKs lack.
func (b *builder) importLibraries(ctx context.Context, log *steps.Log) error {
	for _, s := range []*sdk{b.httpd, b.python} {
		if err := b.complete(ctx, log, s); err != nil {
			return err
		}
	}
	return nil
}

// complete makes the import libraries that an SDK lacks.
func (b *builder) complete(ctx context.Context, log *steps.Log, s *sdk) error {
	var declared *declared
	for _, l := range s.libs {
		if l.lib != "" {
			continue
		}
		if !l.exact {
			if declared == nil {
				var err error
				if declared, err = declarations(s.include); err != nil {
					return err
				}
			}
			b.noteDeclared(l, s)
			if l.names, l.data = declared.of(l.dll); len(l.names) == 0 {
				return fault.New(fault.Environment, "use the complete SDK of that version", "the headers declare no symbol of %s", l.dll)
			}
		}
		stem := strings.TrimSuffix(l.dll, filepath.Ext(l.dll))
		dir := b.dir("lib")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, stem+".def"), l.definition(), 0o644); err != nil {
			return err
		}
		l.lib = filepath.Join(dir, stem+".lib")
		if err := b.tool(ctx, log, dir, b.tools.importLibrary(stem+".def", l.dll, stem+".lib")); err != nil {
			return err
		}
	}
	return nil
}

// noteDeclared reports that a library's names come only from the headers, although the
// SDK should have contained the library.
func (b *builder) noteDeclared(l *library, s *sdk) {
	stem := strings.TrimSuffix(l.dll, filepath.Ext(l.dll))
	switch {
	case s == b.httpd && b.HTTPDSDK != "":
		b.Events.Warn(fmt.Sprintf("%s has neither %s.lib nor %s: the module's imports were compared only with the headers", b.HTTPDSDK, stem, l.dll))
	case s == b.python && b.PythonSDK != "":
		b.Events.Note(fmt.Sprintf("%s has neither %s.lib nor %s: only its headers are used", b.PythonSDK, stem, l.dll))
	}
}

// definition is the module definition file for an import library.
func (l *library) definition() []byte {
	var out strings.Builder
	fmt.Fprintf(&out, "LIBRARY %s\nEXPORTS\n", l.dll)
	data := map[string]bool{}
	for _, name := range l.data {
		data[name] = true
	}
	for _, name := range l.names {
		out.WriteString("    " + name)
		if data[name] {
			out.WriteString(" DATA")
		}
		out.WriteString("\n")
	}
	return []byte(out.String())
}

// renamed are the headers that upstream keeps for Windows under other names, in the
// archive of each component.
var renamed = map[string]map[string]string{
	"httpd":    {"os/win32/os.h": "os.h", "os/win32/win32_config_layout.h": "ap_config_layout.h"},
	"apr":      {"include/apr.hw": "apr.h"},
	"apr-util": {"include/apu.hw": "apu.h", "include/apu_want.hw": "apu_want.h", "include/apr_ldap.hw": "apr_ldap.h"},
}

// httpdFromSource lays out the headers as in an installed httpd.
func (b *builder) httpdFromSource(ctx context.Context) (*sdk, error) {
	s := &sdk{}
	for _, c := range []struct {
		name string
		from Source
	}{{"httpd", b.HTTPD}, {"apr", b.APR}, {"apr-util", b.APRUtil}} {
		dir := b.dir(c.name)
		_, err := archive.Extract(ctx, c.from.Path, dir, archive.Options{
			Strip: 1, Limits: archive.DefaultLimits(), SHA256: c.from.SHA256,
			Keep: func(name string) bool {
				inner, ok := strings.CutPrefix(name, "include/")
				return ok && !strings.Contains(inner, "/") || renamed[c.name][name] != ""
			},
		})
		if err != nil {
			return nil, fmt.Errorf("unpack %s %s: %w", c.name, c.from.Version, err)
		}
		include := filepath.Join(dir, "include")
		for from, to := range renamed[c.name] {
			if err := os.Rename(filepath.Join(dir, filepath.FromSlash(from)), filepath.Join(include, to)); err != nil {
				return nil, fmt.Errorf("copy the headers of %s: %w", c.name, err)
			}
		}
		s.include = append(s.include, include)
	}
	for _, dll := range httpdNames {
		s.libs = append(s.libs, &library{dll: dll, source: "the headers"})
	}
	return s, s.describeHTTPD(s.include[0])
}

// pythonFromSource copies the headers from CPython's source archive.
func (b *builder) pythonFromSource(ctx context.Context) (*sdk, error) {
	dir := b.dir("python")
	_, err := archive.Extract(ctx, b.CPython.Path, dir, archive.Options{
		Strip: 1, Limits: archive.DefaultLimits(), SHA256: b.CPython.SHA256,
		Keep: func(name string) bool {
			return strings.HasPrefix(name, "Include/") && strings.HasSuffix(name, ".h") || strings.HasPrefix(name, "PC/pyconfig.h")
		},
	})
	if err != nil {
		return nil, fmt.Errorf("unpack CPython %s: %w", b.CPython.Version, err)
	}
	return pythonSDK(ctx, dir, dir, b.Python)
}

// headersBelow lists the headers of a directory, and of those in it.
func headersBelow(dir string) ([]string, error) {
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(strings.ToLower(path), ".h") {
			out = append(out, path)
		}
		return err
	})
	return out, err
}
