package installer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"modwsgi/detect"
	"modwsgi/internal/fault"
	"modwsgi/internal/pydist"
	"modwsgi/internal/receipt"
)

// httpdReceipt is the record of a bundled httpd, in its tree.
type httpdReceipt struct {
	Schema     int               `json:"schema"`
	Tool       string            `json:"tool"`
	Key        string            `json:"key"`
	Version    string            `json:"version"`
	Features   []string          `json:"features"`
	Modules    []string          `json:"modules"`
	Compiler   string            `json:"compiler"`
	Libc       string            `json:"libc"`
	Hardening  string            `json:"hardening,omitempty"` // "auto" or "none"; "" if an earlier release wrote it
	Flags      []string          `json:"flags,omitempty"`     // those against exploitation, and the caller's own
	Components []componentRecord `json:"components"`
}

// componentRecord is one source archive that went into a build.
type componentRecord struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	SHA256  string `json:"sha256"`
	Trust   string `json:"trust"`
}

const httpdReceiptName = "build.json"

// httpdTree returns the path of the bundled httpd in a site-packages directory.
func httpdTree(site string) string { return filepath.Join(site, "mod_wsgi_packages", "httpd") }

// state is what is installed in an environment.
type state struct {
	module  *pydist.Installed // nil if not installed
	httpd   *pydist.Installed
	receipt *receipt.Receipt // nil if modwsgi did not install the module
	tree    *httpdReceipt    // nil if modwsgi did not install the bundled httpd
}

func readState(site string) (*state, error) {
	s := &state{}
	var err error
	if s.module, err = pydist.Find(site, ModuleDist); err != nil {
		return nil, err
	}
	if s.httpd, err = pydist.Find(site, HTTPDDist); err != nil {
		return nil, err
	}
	if s.module != nil {
		// An unreadable receipt counts as missing: the module is built again.
		s.receipt, _ = receipt.Read(site)
	}
	if s.httpd != nil {
		s.tree, err = readHTTPDReceipt(httpdTree(site))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.tree = nil
		}
	}
	return s, nil
}

func readHTTPDReceipt(tree string) (*httpdReceipt, error) {
	data, err := os.ReadFile(filepath.Join(tree, httpdReceiptName))
	if err != nil {
		return nil, err
	}
	var r httpdReceipt
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("read %s: %w", httpdReceiptName, err)
	}
	return &r, nil
}

// ours reports whether modwsgi installed a distribution.
func ours(d *pydist.Installed) bool { return d != nil && d.Installer == installerName }

const installerName = "modwsgi"

// checkPrefix refuses environments that must not be changed.
func checkPrefix(py *detect.Python, breakSystem bool) error {
	if py.Externally != "" && !breakSystem {
		return fault.New(fault.Environment,
			"make an environment (python3 -m venv .venv) and give --python .venv, or insist with --break-system-packages",
			"the Python at %s belongs to the system's package manager (%s, PEP 668)", py.Executable, py.Externally)
	}
	return nil
}
