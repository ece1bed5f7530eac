package installer

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"modwsgi/detect"
	"modwsgi/installer/place"
	"modwsgi/internal/filetree"
	"modwsgi/internal/receipt"
)

// footprintOf is footprint including what is left of former Pythons.
func footprintOf(py *detect.Python) string {
	var b strings.Builder
	for _, site := range append([]string{py.Platlib}, py.EarlierSites()...) {
		b.WriteString(footprint(site))
	}
	return b.String()
}

// footprint returns a text that changes whenever anybody changes modwsgi's files in an
// environment.
func footprint(site string) string {
	var b strings.Builder
	entries, err := os.ReadDir(site)
	if err != nil {
		return err.Error()
	}
	for _, e := range entries {
		if name := e.Name(); strings.HasPrefix(name, "mod_wsgi") || place.IsHidden(name) {
			dir := filepath.Join(site, name)
			fmt.Fprintln(&b, name, stateOf(dir), stateOf(filepath.Join(dir, "RECORD")))
		}
	}
	fmt.Fprintln(&b, stateOf(filepath.Join(site, filepath.FromSlash(receipt.Path))), stateOf(filepath.Join(httpdTree(site), httpdReceiptName)))
	return b.String()
}

// leftovers reports whether a killed run left its hidden directory.
func leftovers(site string) bool {
	return len(filetree.Glob(site, ".modwsgi-*")) > 0
}
