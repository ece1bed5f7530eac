package cli

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	pyruntime "modwsgi/express/runtime"
	"modwsgi/internal/fault"
	"modwsgi/internal/receipt"
	"modwsgi/internal/version"
	"modwsgi/modulebuild/windows"
	"modwsgi/packaging"
	"modwsgi/packaging/authenticode"
	"modwsgi/packaging/licence"
	"modwsgi/packaging/release"
	"modwsgi/packaging/winzip"
)

// packWindows is "package windows".
func (a *app) packWindows() *cobra.Command {
	var w windowsFlags
	var o packOptions
	var s authenticode.Signer
	var launcher string
	c := &cobra.Command{
		Use: "windows", Args: noArgs, Short: "Make a zip and a wheel for Apache 2.4 on Windows",
		Long: "windows builds mod_wsgi for each Python that is named, as \"module build\" does, and makes for each a zip to unpack\n" +
			"over an Apache24 directory and a wheel for pip, both with mod_wsgi-express.exe. See docs/guides/windows.md.",
		Example: "  modwsgi package windows --python 3.11 --python 3.13\n" +
			"  modwsgi package windows --python 3.12 --python-sdk python.3.12.8.nupkg --sign-cert code.p12 --sign-cert-passphrase-file pass",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := a.start(); err != nil {
				return err
			}
			if err := w.complete(a); err != nil {
				return err
			}
			for _, f := range []*string{&s.Cert, &s.Key, &s.Passphrase, &launcher} {
				if *f != "" {
					*f = a.abs(*f)
				}
			}
			return a.packageWindows(c, &w, &o, &s, launcher)
		},
	}
	w.add(c, "dist")
	f := c.Flags()
	f.BoolVar(&o.overwrite, "overwrite", false, "replace artifacts of the same name that have another content")
	f.StringVar(&launcher, "launcher", "", "mod_wsgi-express.exe for Windows x64 (default: beside modwsgi)")
	f.StringVar(&s.Cert, "sign-cert", "", "certificate to sign programs with (Authenticode), PEM or PKCS#12")
	f.StringVar(&s.Key, "sign-key", "", "its private key in PEM; a PKCS#12 file has it")
	f.StringVar(&s.Passphrase, "sign-cert-passphrase-file", "", "file whose first line is the passphrase of that key")
	f.StringVar(&s.Timestamp, "sign-timestamp-url", "", "RFC 3161 time stamp server; with a time stamp no two results are equal")
	f.StringVar(&o.openpgp, "sign-openpgp", "", "file with an OpenPGP private key to sign the checksums with")
	f.StringVar(&o.minisign, "sign-minisign", "", "file with a minisign private key to sign the checksums with")
	f.StringVar(&o.ecdsa, "sign-ecdsa", "", "file with a P-256 private key in PEM to sign the checksums with, as cosign does")
	f.StringVar(&o.passphrase, "sign-passphrase-file", "", "file whose first line is the passphrase of that key")
	f.StringVar(&o.builder, "builder-id", "", "URI of who builds, for the provenance statement")
	return c
}

// packageWindows checks everything that can be checked, then builds, signs,
// packages and describes.
func (a *app) packageWindows(c *cobra.Command, w *windowsFlags, o *packOptions, s *authenticode.Signer, launcher string) error {
	began := time.Now()
	ctx := c.Context()
	at, err := sourceDate(a.Env)
	if err != nil {
		return err
	}
	signers, err := a.signers(o)
	if err != nil {
		return err
	}
	signing := s.Cert != "" || s.Key != ""
	s.Time, s.Env, s.Runner, s.Name, s.URL = at, a.Env, a.runner(), "mod_wsgi", "https://www.modwsgi.org/"
	if signing {
		if err := s.Check(); err != nil {
			return err
		}
	}
	if launcher, err = a.windowsLauncher(launcher); err != nil {
		return err
	}
	d, err := a.openDist(ctx, w.out, o.overwrite)
	if err != nil {
		return err
	}
	defer d.Abort()
	sign := func(string) error { return nil }
	if signing {
		sign = func(path string) error { return s.Sign(ctx, path) }
	}
	made, err := a.buildAndPack(ctx, w, d, launcher, at, sign)
	if err != nil {
		return err
	}
	err = a.view.sink().Step("describe and sign", func() error {
		err := release.Finish(ctx, d, release.Options{
			Time: at, Tool: version.Release, Builder: o.builder, Signers: signers,
			Parameters: map[string]string{"compiler": made[0].Compiler, "target": windows.Target, "authenticode": fmt.Sprint(signing)},
		})
		if err == nil {
			err = d.Commit()
		}
		return err
	})
	if err != nil {
		return err
	}
	a.view.close()
	return a.showWindows(d, made, time.Since(began))
}

// buildAndPack builds one module a Python and writes the artifacts of each.
func (a *app) buildAndPack(ctx context.Context, w *windowsFlags, d *packaging.Dist, launcher string, at time.Time, sign func(string) error) ([]*windows.Result, error) {
	scratch, err := d.Scratch()
	if err != nil {
		return nil, err
	}
	made, stages, err := a.stagesWindows(ctx, w, scratch, launcher, at, sign)
	if err != nil {
		return nil, err
	}
	for k, m := range made {
		err := a.view.sink().Step("package for Python "+majorMinor(m.Python), func() error { return writeWindows(ctx, d, stages[k]) })
		if err != nil {
			return nil, err
		}
	}
	return made, nil
}

// stagesWindows builds one module a Python and stages each below scratch.
func (a *app) stagesWindows(ctx context.Context, w *windowsFlags, scratch, launcher string, at time.Time, sign func(string) error) ([]*windows.Result, []*packaging.Stage, error) {
	bin := filepath.Join(scratch, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		return nil, nil, err
	}
	program := filepath.Join(bin, "mod_wsgi-express.exe")
	if err := packaging.CopyFile(launcher, program, 0o755); err != nil {
		return nil, nil, err
	}
	if err := sign(program); err != nil { // first: who cannot sign need not build
		return nil, nil, err
	}
	made, sources, err := a.buildWindows(ctx, w, filepath.Join(scratch, "modules"))
	if err != nil {
		return nil, nil, err
	}
	var stages []*packaging.Stage
	for _, m := range made {
		if err := sign(m.File); err != nil {
			return nil, nil, err
		}
		stage, err := stageWindows(m, sources, filepath.Join(scratch, "stage-"+windows.Tag(majorMinor(m.Python))), bin, at)
		if err != nil {
			return nil, nil, err
		}
		stages = append(stages, stage)
	}
	return made, stages, nil
}

func writeWindows(ctx context.Context, d *packaging.Dist, s *packaging.Stage) error {
	if _, err := winzip.Zip(ctx, d, s); err != nil {
		return err
	}
	_, err := winzip.Wheel(ctx, d, s)
	return err
}

// windowsLauncher finds the launcher for Windows: where a release has it, beside
// this program.
func (a *app) windowsLauncher(given string) (string, error) {
	const name = "mod_wsgi-express.exe"
	candidates := []string{given}
	if given == "" {
		dir := a.toolsDir()
		candidates = []string{filepath.Join(dir, name), filepath.Join(dir, "windows-amd64", name), filepath.Join(dir, "..", "libexec", "modwsgi", name)}
	}
	for _, path := range candidates {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, winzip.CheckMachine(path)
		}
	}
	return "", fault.New(fault.Environment, "name it with --launcher; the archive of modwsgi for Windows has it, or from a checkout: GOOS=windows GOARCH=amd64 go build -o "+name+" ./cmd/mod_wsgi-express",
		"the launcher for Windows is not there: %s", candidates[0])
}

// stageWindows lays out what goes into site-packages.
func stageWindows(m *windows.Result, sources *windows.Sources, site, bin string, at time.Time) (*packaging.Stage, error) {
	err := fs.WalkDir(pyruntime.Files, "mod_wsgi", func(path string, d fs.DirEntry, err error) error {
		to := filepath.Join(site, filepath.FromSlash(path))
		if err != nil || d.IsDir() {
			if err == nil {
				err = os.MkdirAll(to, 0o755)
			}
			return err
		}
		data, err := fs.ReadFile(pyruntime.Files, path)
		if err == nil {
			err = os.WriteFile(to, data, 0o644)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("stage the runtime: %w", err)
	}
	server := filepath.Join(site, "mod_wsgi", "server")
	if err := os.MkdirAll(server, 0o755); err != nil {
		return nil, err
	}
	if err := os.Rename(m.File, filepath.Join(server, m.Name)); err != nil {
		return nil, err
	}
	minor, tag := majorMinor(m.Python), windows.Tag(majorMinor(m.Python))
	dll := "python" + strings.TrimPrefix(tag, "cp") + ".dll"
	r := receipt.Receipt{
		Tool: version.Release, Module: receipt.Module{File: m.Name, Version: m.Version, SHA256: m.SHA256},
		Python: receipt.Python{Version: minor, SOABI: tag + "-win_amd64", Soname: dll},
		HTTPD:  receipt.HTTPD{Provenance: "system", Version: m.HTTPD, MMN: m.MMN, MPMs: []string{"winnt"}},
	}
	if err := os.WriteFile(filepath.Join(site, filepath.FromSlash(receipt.Path)), r.Encode(), 0o644); err != nil {
		return nil, err
	}
	return &packaging.Stage{
		Site: site, Bin: bin, Time: at, Tool: version.Release,
		Module: &packaging.Module{
			Package: "mod_wsgi", File: "mod_wsgi/server/" + m.Name, Receipt: receipt.Path, Version: m.Version, Key: m.Key, HTTPD: m.HTTPD,
			Python:     packaging.Python{Version: m.Python, Tag: tag, ABI: abi(minor, tag), SOABI: tag + "-win_amd64", Platform: "win-amd64", LibPython: dll, Shared: true},
			Components: windowsComponents(m, sources, minor),
		},
	}, nil
}

// abi is the ABI tag: up to 3.7 it had an "m" for the allocator, which later
// versions do not have (bpo-36707).
func abi(minor, tag string) string {
	if minor == "3.7" || minor == "3.6" {
		return tag + "m"
	}
	return tag
}

// windowsComponents are what the module was compiled from, and what of the
// compiler is in it.
func windowsComponents(m *windows.Result, sources *windows.Sources, minor string) []packaging.Component {
	var all []packaging.Component
	for _, c := range []struct {
		name string
		from windows.Source
	}{{"mod_wsgi", sources.ModWSGI}, {"httpd", sources.HTTPD}, {"apr", sources.APR}, {"apr-util", sources.APRUtil}, {"cpython", sources.CPython[minor]}} {
		if c.from.Version != "" {
			all = append(all, packaging.SourceComponent(c.name, c.from.Version, licence.OfSource(c.name), c.from.SHA256))
		}
	}
	for i := range all {
		if all[i].Name == "cpython" && all[i].License == "" {
			all[i].License = "PSF-2.0" // its headers
		}
	}
	if strings.Contains(m.Compiler, "mingw") {
		runtime := packaging.Component{Kind: packaging.FromHost, Name: "mingw-w64-runtime", Version: m.Compiler, License: "ZPL-2.1 AND GPL-3.0-or-later WITH GCC-exception-3.1"}
		for _, text := range []string{"/usr/share/doc/mingw-w64-common/copyright", "/usr/share/doc/gcc-mingw-w64-base/copyright"} {
			if isFile(text) {
				runtime.Texts = append(runtime.Texts, text)
			}
		}
		all = append(all, runtime)
	}
	return all
}

func (a *app) showWindows(d *packaging.Dist, made []*windows.Result, took time.Duration) error {
	if a.flags.json {
		writeJSON(a.Stdout, map[string]any{"event": "result", "directory": d.Dir(), "artifacts": d.Added(), "modules": made, "elapsed_ns": took})
		return nil
	}
	_, _ = fmt.Fprintf(a.Stdout, "\nIn %s, made in %s:\n", printable(d.Dir()), seconds(took))
	t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	for _, art := range d.Added() {
		_, _ = fmt.Fprintf(t, "  %s\t%.1f MB\t%s\n", art.Name, float64(art.Size)/1e6, art.SHA256[:16])
	}
	_ = t.Flush()
	_, err := fmt.Fprintf(a.Stdout, "Next, on Windows: unpack the zip over C:\\, or py -%s -m pip install the wheel, then mod_wsgi-express module-config\n", majorMinor(made[0].Python))
	return err
}
