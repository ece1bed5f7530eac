// Command scandb makes a vulnerability database for grype, with a few advisories for
// tests: scanning needs no network then, and its result does not change from day to day.
//
//	scandb DIR <advisories.json
//
// DIR is for GRYPE_DB_CACHE_DIR. The advisories are a list of objects; each affects a
// CPE, a package of a Linux distribution, or a package of an ecosystem.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/spf13/afero"
)

// advisory is one entry of the input. The affected versions are a constraint in grype's
// syntax, "< 2.4.69", of a type: "unknown", "dpkg", "rpm", "apk", "python", "go".
type advisory struct {
	ID       string `json:"id"`
	CPE      string `json:"cpe"`    // "apache:http_server"
	Distro   string `json:"distro"` // "debian-12"
	System   string `json:"ecosystem"`
	Package  string `json:"package"` // of the distribution or the ecosystem
	Versions string `json:"versions"`
	Type     string `json:"type"`
	Fixed    string `json:"fixed"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "scandb:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: scandb DIR <advisories.json")
	}
	var all []advisory
	if err := json.NewDecoder(os.Stdin).Decode(&all); err != nil {
		return err
	}
	dir := filepath.Join(args[0], fmt.Sprint(v6.ModelVersion))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	db, err := v6.NewWriter(v6.Config{DBDirPath: dir, CacheSizeKiB: 4096})
	if err != nil {
		return err
	}
	if err := db.SetDBMetadata(); err != nil {
		return err
	}
	for _, a := range all {
		if err := add(db, a); err != nil {
			return fmt.Errorf("%s: %w", a.ID, err)
		}
	}
	if err := db.Close(); err != nil {
		return err
	}
	_, err = v6.WriteImportMetadata(afero.NewOsFs(), dir, "test")
	return err
}

// add writes one advisory.
func add(db v6.ReadWriter, a advisory) error {
	now := time.Now().UTC()
	provider := "nvd"
	switch {
	case a.Distro != "":
		provider, _, _ = strings.Cut(a.Distro, "-")
	case a.System != "":
		provider = "github"
	}
	v := &v6.VulnerabilityHandle{
		Name: a.ID, Status: v6.VulnerabilityActive, PublishedDate: &now, ModifiedDate: &now, ProviderID: provider,
		Provider:  &v6.Provider{ID: provider, Version: "1", Processor: "scandb", DateCaptured: &now},
		BlobValue: &v6.VulnerabilityBlob{ID: a.ID, Description: "test"},
	}
	if err := db.AddVulnerabilities(v); err != nil {
		return err
	}
	blob := &v6.PackageBlob{CVEs: []string{a.ID}, Ranges: []v6.Range{{
		Version: v6.Version{Type: a.Type, Constraint: a.Versions}, Fix: &v6.Fix{Version: a.Fixed, State: v6.FixedStatus},
	}}}
	if a.CPE != "" {
		vendor, product, _ := strings.Cut(a.CPE, ":")
		return db.AddAffectedCPEs(&v6.AffectedCPEHandle{Vulnerability: v, VulnerabilityID: v.ID, CPE: &v6.Cpe{Part: "a", Vendor: vendor, Product: product}, BlobValue: blob})
	}
	p := &v6.AffectedPackageHandle{Vulnerability: v, VulnerabilityID: v.ID, Package: &v6.Package{Name: a.Package, Ecosystem: a.System}, BlobValue: blob}
	if a.Distro != "" {
		name, version, _ := strings.Cut(a.Distro, "-")
		major, minor, _ := strings.Cut(version, ".")
		p.OperatingSystem = &v6.OperatingSystem{Name: name, ReleaseID: name, MajorVersion: major, MinorVersion: minor}
		if name == "debian" {
			p.OperatingSystem.Codename = map[string]string{"11": "bullseye", "12": "bookworm", "13": "trixie"}[major]
		}
		p.Package.Ecosystem = map[string]string{"debian": "deb", "fedora": "rpm", "alpine": "apk"}[name]
	}
	return db.AddAffectedPackages(p)
}
