// Package receipt knows the record that an install leaves beside the module: which Python
// and which httpd it was built for, and what it was built from. The launcher, detect and
// the installer read it. It has facts, and one decision: whether the module still fits
// today (Compare).
package receipt

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"modwsgi/internal/fault"
)

// Path is the path of the receipt relative to the site-packages directory, with slashes.
const Path = "mod_wsgi/server/build.json"

// Handover is the file beside the module by which one httpd hands its listening sockets
// to the next one (modulebuild/handover).
const Handover = "mod_handover.so"

// Schema is the version of the format that this code writes.
const Schema = 1

// Receipt describes the build and its targets. Paths of a bundled httpd are relative to
// site-packages (with slashes), so that the environment can be moved; all other paths are
// absolute.
type Receipt struct {
	Schema int    `json:"schema"`
	Tool   string `json:"tool"` // version of modwsgi that wrote it
	Key    string `json:"key"`  // hash of the module's build inputs
	Module Module `json:"module"`
	Python Python `json:"python"`
	HTTPD  HTTPD  `json:"httpd"`
}

// Module is the built mod_wsgi.
type Module struct {
	File    string `json:"file"` // file name, in mod_wsgi/server
	Version string `json:"version"`
	SHA256  string `json:"sha256"`
	// Hardening is the value of --hardening that it was built with; "" if unknown.
	Hardening string `json:"hardening,omitempty"`
}

// Python is the interpreter that the module was built for.
type Python struct {
	Version    string `json:"version"` // "3.11.7"
	SOABI      string `json:"soabi"`
	Prefix     string `json:"prefix"`      // sys.prefix at install time
	BasePrefix string `json:"base_prefix"` // sys.base_prefix at install time
	LibPython  string `json:"libpython"`   // the linked library; "" if none
	// Soname is the name of the libpython that the module loads if its path was unknown at
	// build time: a module from a wheel is for every Python of its version. Prefix,
	// BasePrefix and LibPython are then empty.
	Soname       string `json:"libpython_soname,omitempty"`
	FreeThreaded bool   `json:"free_threaded"`
}

// HTTPD is the server that the module was built for.
type HTTPD struct {
	Provenance string   `json:"provenance"` // "bundled", "system" or "explicit"
	Version    string   `json:"version"`
	MMN        int      `json:"mmn"`
	Executable string   `json:"executable"`
	ModulesDir string   `json:"modules_dir"`
	Rotatelogs string   `json:"rotatelogs,omitempty"`
	MPMs       []string `json:"mpms"`
	Features   []string `json:"features,omitempty"`
	Key        string   `json:"key,omitempty"` // hash of the build inputs of a bundled one
}

// Read reads the receipt below a site-packages directory. The error is fs.ErrNotExist if
// not found, and of class Environment for a file that is damaged or of another schema.
// Relative paths are returned absolute.
func Read(site string) (*Receipt, error) {
	name := filepath.Join(site, filepath.FromSlash(Path))
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var r Receipt
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fault.New(fault.Environment, "install mod_wsgi again with modwsgi install --reinstall", "read %s: it is damaged: %w", name, err)
	}
	if r.Schema != Schema {
		return nil, fault.New(fault.Environment, "use the version of modwsgi that installed it, or install again with modwsgi install --reinstall",
			"read %s: modwsgi %s wrote it with schema %d, this program knows %d", name, orUnknown(r.Tool), r.Schema, Schema)
	}
	if r.Module.File != "" && (!filepath.IsLocal(r.Module.File) || filepath.Base(r.Module.File) != r.Module.File) {
		return nil, damaged(name, "%q is not the name of a module", r.Module.File)
	}
	for _, p := range []*string{&r.HTTPD.Executable, &r.HTTPD.ModulesDir, &r.HTTPD.Rotatelogs} {
		if *p != "" && !filepath.IsAbs(*p) {
			if !filepath.IsLocal(filepath.FromSlash(*p)) {
				return nil, damaged(name, "%q leads out of the environment", *p)
			}
			*p = filepath.Join(site, filepath.FromSlash(*p))
		}
	}
	return &r, nil
}

func damaged(name, why string, args ...any) error {
	return fault.New(fault.Environment, "install mod_wsgi again with modwsgi install --reinstall", "read %s: it is damaged: %w", name, fmt.Errorf(why, args...))
}

func orUnknown(tool string) string {
	if tool == "" {
		return "(of an unknown version)"
	}
	return tool
}

// Encode returns the file's content.
func (r Receipt) Encode() []byte {
	r.Schema = Schema
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		panic(err) // strings and integers always encode
	}
	return append(data, '\n')
}
