package pydist

import (
	"archive/zip"
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/flate"
	"golang.org/x/sync/errgroup"
)

// WheelName returns the file name of the distribution as a wheel: name, version,
// build tag and compressed tag
// (https://packaging.python.org/en/latest/specifications/binary-distribution-format/).
func (d Dist) WheelName() (string, error) {
	info, err := d.InfoDir()
	if err != nil {
		return "", err
	}
	if _, err := ExpandTag(d.Tag); err != nil {
		return "", err
	}
	if d.Build != "" && (strings.Trim(d.Build, "0123456789") != "" || len(d.Build) > 9) {
		return "", fmt.Errorf("describe %s: the build tag %q is not a number", d.Name, d.Build)
	}
	stem := strings.TrimSuffix(info, ".dist-info")
	if d.Build != "" {
		stem += "-" + d.Build
	}
	return stem + "-" + d.Tag + ".whl", nil
}

// DataDir returns the directory of a wheel whose subdirectories are installed outside
// site-packages: "scripts" into the directory of programs.
func (d Dist) DataDir() (string, error) {
	info, err := d.InfoDir()
	return strings.TrimSuffix(info, ".dist-info") + ".data", err
}

// WheelMetadata returns the content of METADATA, which an index may offer beside
// the wheel (PEP 658).
func (d Dist) WheelMetadata() ([]byte, error) { return d.metadata() }

// entry is one file of a wheel.
type entry struct {
	name   string
	source string // a file, or
	data   []byte
	exec   bool
	packed []byte
	header *zip.FileHeader
}

// WriteWheel writes the distribution as a wheel. Equal contents and time give equal
// bytes: entries are sorted, with the description at the end as the specification asks,
// modes are 0755 or 0644, and there are no extra fields or data descriptors. A time
// before 1980, the first year of the format, is replaced by its start. A file of Files is
// executable if its Source is. INSTALLER, REQUESTED and other files of an installed
// distribution are omitted.
func (d Dist) WriteWheel(w io.Writer, at time.Time) error {
	d.Installer, d.Requested = "", false
	entries, err := d.wheelEntries()
	if err != nil {
		return fmt.Errorf("pack %s: %w", d.Name, err)
	}
	date, clock := dosTime(at)
	group := errgroup.Group{}
	group.SetLimit(runtime.NumCPU())
	for i := range entries {
		group.Go(func() error { return entries[i].pack(date, clock) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("pack %s: %w", d.Name, err)
	}
	z := zip.NewWriter(w)
	for _, e := range entries {
		out, err := z.CreateRaw(e.header)
		if err == nil {
			_, err = out.Write(e.packed)
		}
		if err != nil {
			return fmt.Errorf("pack %s: %w", d.Name, err)
		}
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("pack %s: %w", d.Name, err)
	}
	return nil
}

// wheelEntries lists the entries of the wheel, RECORD last.
func (d Dist) wheelEntries() ([]*entry, error) {
	dir, err := d.InfoDir()
	if err != nil {
		return nil, err
	}
	info, err := d.infoFiles()
	if err != nil {
		return nil, err
	}
	record, err := d.record(dir, info)
	if err != nil {
		return nil, err
	}
	var entries []*entry
	for _, f := range d.Files {
		if !filepath.IsLocal(filepath.FromSlash(f.Path)) {
			return nil, fmt.Errorf("%q leads out of the wheel", f.Path)
		}
		st, err := os.Stat(f.Source)
		if err != nil {
			return nil, err
		}
		entries = append(entries, &entry{name: f.Path, source: f.Source, exec: st.Mode()&0o100 != 0})
	}
	byName := func(a, b *entry) int { return strings.Compare(a.name, b.name) }
	slices.SortFunc(entries, byName)
	var description []*entry
	for name, data := range info {
		description = append(description, &entry{name: dir + "/" + name, data: data})
	}
	slices.SortFunc(description, byName)
	return append(append(entries, description...), &entry{name: dir + "/RECORD", data: record}), nil
}

// pack compresses a file and fills in its header.
func (e *entry) pack(date, clock uint16) error {
	if e.source != "" {
		var err error
		if e.data, err = os.ReadFile(e.source); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	z, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write(e.data); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	e.packed = b.Bytes()
	e.header = &zip.FileHeader{
		Name: e.name, Method: zip.Deflate, CRC32: crc32.ChecksumIEEE(e.data), ReaderVersion: 20,
		CompressedSize64: uint64(len(e.packed)), UncompressedSize64: uint64(len(e.data)),
		//lint:ignore SA1019 the field that is not deprecated adds an extra field
		ModifiedDate: date, ModifiedTime: clock,
	}
	if strings.ContainsFunc(e.name, func(r rune) bool { return r > 0x7f }) {
		e.header.Flags |= 0x800 // the name is UTF-8
	}
	mode := os.FileMode(0o644)
	if e.exec {
		mode = 0o755
	}
	e.header.SetMode(mode)
	e.data = nil
	return nil
}

// dosTime converts a time to the zip format, which has a resolution of two seconds and no
// time zone.
func dosTime(at time.Time) (date, clock uint16) {
	at = at.UTC()
	if at.Year() < 1980 {
		at = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if at.Year() > 2107 {
		at = time.Date(2107, 12, 31, 23, 59, 58, 0, time.UTC)
	}
	return uint16(at.Day() | int(at.Month())<<5 | (at.Year()-1980)<<9), uint16(at.Second()/2 | at.Minute()<<5 | at.Hour()<<11)
}
