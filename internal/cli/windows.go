package cli

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"modwsgi/packaging"
	"modwsgi/packaging/authenticode"
	"modwsgi/packaging/produce"
)

// packWindows is "package windows".
func (a *app) packWindows() *cobra.Command {
	var w windowsFlags
	var o packOptions
	var s authenticode.Signer
	var launcher, local, metadata string
	c := &cobra.Command{
		Use: "windows", Args: noArgs, Short: "Make a zip and a wheel for Apache 2.4 on Windows",
		Long: "windows builds mod_wsgi for each named Python, as \"module build\" does, and makes for each a zip to unpack\n" +
			"over an Apache24 directory and a wheel for pip, both with mod_wsgi-express.exe. See docs/guides/windows.md.",
		Example: "  modwsgi package windows --python 3.11 --python 3.13\n" +
			"  modwsgi package windows --python 3.12 --python-sdk python.3.12.8.nupkg --sign-cert code.p12 --sign-cert-passphrase-file pass",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := a.start(); err != nil {
				return err
			}
			build, err := w.complete(a, nil)
			if err != nil {
				return err
			}
			for _, f := range []*string{&s.Cert, &s.Key, &s.Passphrase, &launcher} {
				if *f != "" {
					*f = a.abs(*f)
				}
			}
			o.out = w.out
			run := &produce.Windows{Settings: a.settings(&o), Modules: build, Launcher: launcher, Signer: s}
			run.Wheel.Local, run.Wheel.Metadata = local, metadata
			run.Build.Runner, run.Build.Events = a.runner(), a.view.sink()
			r, err := run.Run(c.Context())
			if err != nil {
				return err
			}
			a.view.close()
			return a.showWindows(r)
		},
	}
	w.add(c, "dist")
	f := c.Flags()
	f.BoolVar(&o.overwrite, "overwrite", false, "replace existing artifacts whose contents differ")
	f.StringVar(&launcher, "launcher", "", "mod_wsgi-express.exe for Windows x64 (default: next to modwsgi)")
	f.StringVar(&local, "local-version", "", "local version label of the wheel, as in 5.0.2+LABEL; PyPI accepts none")
	f.StringVar(&metadata, "metadata-version", "2.1", "core metadata version of the wheel: 2.1, which all tools read, or 2.4 with fields for licences (PEP 639)")
	f.StringVar(&s.Cert, "sign-cert", "", "certificate to sign programs with (Authenticode), PEM or PKCS#12")
	f.StringVar(&s.Key, "sign-key", "", "its private key in PEM; a PKCS#12 file has it")
	f.StringVar(&s.Passphrase, "sign-cert-passphrase-file", "", "file whose first line is the passphrase of that key")
	f.StringVar(&s.Timestamp, "sign-timestamp-url", "", "RFC 3161 timestamp server; with a timestamp, results are not reproducible")
	f.StringVar(&o.openpgp, "sign-openpgp", "", "file with an OpenPGP private key to sign the checksums with")
	f.StringVar(&o.minisign, "sign-minisign", "", "file with a minisign private key to sign the checksums with")
	f.StringVar(&o.ecdsa, "sign-ecdsa", "", "file with a P-256 private key in PEM to sign the checksums and the provenance statements with, as cosign does")
	f.StringVar(&o.passphrase, "sign-passphrase-file", "", "file whose first line is the passphrase of that key")
	f.StringVar(&o.builder, "builder-id", "", "URI of the builder, for the provenance statement")
	return c
}

func (a *app) showWindows(r *produce.Result) error {
	var added []packaging.Artifact
	for _, m := range r.Artifacts {
		added = append(added, m.Artifact)
	}
	if a.flags.json {
		writeJSON(a.Stdout, map[string]any{"event": "result", "directory": r.Dir, "artifacts": added, "modules": r.Modules, "elapsed_ns": r.Elapsed})
		return nil
	}
	_, _ = fmt.Fprintf(a.Stdout, "\nIn %s, made in %s:\n", printable(r.Dir), seconds(r.Elapsed))
	t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	for _, art := range added {
		_, _ = fmt.Fprintf(t, "  %s\t%.1f MB\t%s\n", art.Name, float64(art.Size)/1e6, art.SHA256[:16])
	}
	_ = t.Flush()
	_, err := fmt.Fprintf(a.Stdout, "Next, on Windows: unpack the zip over C:\\, or py -%s -m pip install the wheel, then mod_wsgi-express module-config\n", majorMinor(r.Modules[0].Python))
	return err
}
