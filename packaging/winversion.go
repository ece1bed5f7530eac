package packaging

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modwsgi/internal/pe"
)

// programs are descriptions of the programs for Windows.
var programs = map[string]string{
	"modwsgi":          "Installer and build tool for mod_wsgi on Apache httpd",
	"mod_wsgi-express": "Launcher of WSGI applications on Apache httpd",
	"mod_wsgi-apxs":    "apxs of a private Apache httpd",
}

// DescribeProgram writes the version of modwsgi and a manifest into one of its programs
// for Windows, in place. Its mode and time of modification stay: archives have them. A
// program that has a version, or is signed, stays as it is.
func DescribeProgram(path, version string) error {
	before, err := os.Stat(path)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	file := filepath.Base(path)
	name := strings.TrimSuffix(file, ".exe")
	data, err = pe.AddResources(data, pe.Version{File: version, Product: version, Strings: [][2]string{
		{"CompanyName", "modwsgi authors"},
		{"ProductName", "modwsgi"},
		{"FileDescription", programs[name]},
		{"InternalName", name},
		{"OriginalFilename", file},
		{"LegalCopyright", "Copyright the modwsgi authors. Licensed under the Apache License, Version 2.0."},
	}}, pe.Manifest)
	if errors.Is(err, pe.ErrHasResources) || errors.Is(err, pe.ErrSigned) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("write the version into %s: %w", file, err)
	}
	if err := os.WriteFile(path, data, before.Mode().Perm()); err != nil {
		return err
	}
	return os.Chtimes(path, time.Time{}, before.ModTime()) // an archive has it
}
