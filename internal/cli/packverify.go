package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"modwsgi/internal/fault"
	"modwsgi/packaging/authenticode"
	"modwsgi/packaging/release"
)

// packVerify is "package verify".
func (a *app) packVerify() *cobra.Command {
	var ca string
	c := &cobra.Command{
		Use: "verify PATH...", Short: "Check that artifacts are unchanged, and verify Windows signatures",
		Long: "verify compares a directory of artifacts with its SHA256SUMS: nothing may be missing, changed or added. A zip or\n" +
			"a wheel is compared with the SHA256SUMS next to it and with the list inside it (SHA256SUMS or RECORD). With --ca every\n" +
			"program and library for Windows (in a zip, in a wheel, or a separate file) must have an Authenticode signature that\n" +
			"matches its contents and whose certificate one of those authorities issued.\n\n" +
			"Checksums do not prove their origin: scripts/verify-release checks the signatures of SHA256SUMS.",
		Example: "  modwsgi package verify dist\n  modwsgi package verify --ca company-ca.pem dist/*.zip dist/*.whl",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fault.New(fault.Usage, "name a directory of artifacts, a zip, a wheel, a program or a library", "nothing to verify")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if err := a.start(); err != nil {
				return err
			}
			a.view.close()
			if c.Flags().Changed("ca") {
				if ca = a.abs(ca); !isFile(ca) {
					return fault.New(fault.Usage, "name a PEM file with the certificates of the authorities you trust", "file %s not found", ca)
				}
			}
			for _, path := range args {
				v, err := a.verifyPath(c.Context(), a.abs(path), ca)
				if err != nil {
					return err
				}
				a.showVerified(path, v, ca != "")
			}
			return nil
		},
	}
	c.Flags().StringVar(&ca, "ca", "", "PEM file with trusted certificate authorities; without it no signature is checked")
	return c
}

// verified counts what was found good.
type verified struct {
	listed int      // files that SHA256SUMS of the directory lists
	inside int      // files that the list in the archive has
	signed []string // programs and libraries
}

// verifyPath checks a directory or a file. Something that cannot be compared with any
// list is an error.
func (a *app) verifyPath(ctx context.Context, path, ca string) (v verified, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return v, fault.New(fault.Usage, "name a directory of artifacts, a zip, a wheel, a program or a library", "inspect the path to verify: %w", err)
	}
	if !info.IsDir() && filepath.Base(path) == release.SumsName {
		path, info = filepath.Dir(path), nil
	}
	if info == nil || info.IsDir() {
		return a.verifyDirectory(ctx, path, ca)
	}
	return a.verifyFile(ctx, path, ca)
}

func (a *app) verifyDirectory(ctx context.Context, dir, ca string) (v verified, err error) {
	names, err := release.CheckDirectory(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return v, fault.New(fault.Usage, "name the directory that an artifact was made in, or the artifacts in it", "%s has no %s", dir, release.SumsName)
	}
	if err != nil {
		return v, err
	}
	v.listed = len(names)
	for _, name := range names {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if archived(path) {
			n, err := release.CheckInside(path)
			if err != nil {
				return v, err
			}
			v.inside += n
		}
		if ca == "" || !authenticode.Signable(path) {
			continue
		}
		signed, err := authenticode.VerifyArtifact(ctx, a.runner(), a.Env, path, ca)
		if errors.Is(err, authenticode.ErrNoProgram) {
			continue // an artifact for another system
		}
		if err != nil {
			return v, err
		}
		for _, s := range signed {
			v.signed = append(v.signed, name+":"+s)
		}
	}
	if ca != "" && len(v.signed) == 0 {
		return v, fault.New(fault.Verify, "name a directory with artifacts for Windows, or leave --ca out", "nothing in %s is a program or library for Windows", dir)
	}
	return v, nil
}

func (a *app) verifyFile(ctx context.Context, path, ca string) (v verified, err error) {
	listed, err := release.CheckListed(path)
	if err != nil {
		return v, err
	}
	if listed {
		v.listed = 1
	}
	if archived(path) {
		if v.inside, err = release.CheckInside(path); err != nil {
			return v, err
		}
	}
	if ca == "" {
		if v.listed+v.inside == 0 {
			return v, fault.New(fault.Usage, "pass --ca with a PEM file of the authorities you trust, to check its signature", "no list of checksums contains %s", path)
		}
		return v, nil
	}
	v.signed, err = authenticode.VerifyArtifact(ctx, a.runner(), a.Env, path, ca)
	return v, err
}

// archived reports whether a file is an archive that may contain a list of checksums.
func archived(path string) bool {
	return slices.Contains([]string{".zip", ".whl"}, strings.ToLower(filepath.Ext(path)))
}

func files(n int) string {
	if n == 1 {
		return "1 file"
	}
	return fmt.Sprintf("%d files", n)
}

func (a *app) showVerified(path string, v verified, signatures bool) {
	if a.flags.json {
		writeJSON(a.Stdout, map[string]any{"event": "verified", "file": path, "listed": v.listed, "inside": v.inside, "signed": append([]string{}, v.signed...), "signatures_checked": signatures})
		return
	}
	var found []string
	if v.listed > 0 {
		found = append(found, files(v.listed)+" match "+release.SumsName)
	}
	if v.inside > 0 {
		found = append(found, files(v.inside)+" inside match their lists")
	}
	if len(v.signed) > 0 {
		found = append(found, "valid signatures by "+strings.Join(v.signed, ", "))
	}
	if !signatures {
		found = append(found, "no signature was checked")
	}
	_, _ = fmt.Fprintf(a.Stdout, "%s: %s\n", printable(path), strings.Join(found, "; "))
}
