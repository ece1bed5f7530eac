package publishtest

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/csv"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// maxWheel is the size in bytes of the largest file that PyPI takes without an
// application.
const maxWheel = 100 << 20

var (
	wheelName = regexp.MustCompile(`^([a-z0-9_]+)-([0-9][0-9a-z.]*(?:\+[a-z0-9.]+)?)(?:-([0-9]+))?-([a-z0-9.]+)-([a-z0-9_.]+)-([a-z0-9_.]+)\.whl$`)
	// Platforms as PyPI knows them.
	wheelPlatform = regexp.MustCompile(`^(any|win32|win_amd64|win_arm64|macosx_(10_[0-9]+|1[1-9]_[0-9]+|[2-9][0-9]_[0-9]+)_(x86_64|arm64|universal2)|(manylinux(1|2010|2014|_[0-9]+_[0-9]+)|musllinux_[0-9]+_[0-9]+)_(x86_64|i686|aarch64|armv7l|ppc64le|s390x|riscv64))$`)
)

// Refuses returns why PyPI would refuse a wheel: its name, its platform, its metadata,
// its list of files, or its form as a zip. classifiers are those that the index knows,
// nil for any. The rules are those of warehouse's forklift and zipfiles modules, and of
// the specifications of wheels and core metadata.
func Refuses(name string, data []byte, classifiers []string) (reasons []string) {
	bad := func(format string, args ...any) { reasons = append(reasons, fmt.Sprintf(format, args...)) }
	m := wheelName.FindStringSubmatch(name)
	if m == nil {
		return []string{name + " is not the name of a wheel"}
	}
	for platform := range strings.SplitSeq(m[6], ".") {
		if !wheelPlatform.MatchString(platform) {
			bad("unsupported platform tag %s", platform)
		}
	}
	if len(data) > maxWheel {
		bad("%d bytes are too many", len(data))
	}
	if why := strictZip(data); why != "" {
		bad("ZIP archive not accepted: %s", why)
	}
	files, err := members(data)
	if err != nil {
		return append(reasons, err.Error())
	}
	info := m[1] + "-" + m[2] + ".dist-info/"
	for path := range files {
		top, _, _ := strings.Cut(path, "/")
		if strings.HasSuffix(top, ".dist-info") && top+"/" != info || strings.HasSuffix(top, ".data") && top != m[1]+"-"+m[2]+".data" {
			bad("%s is in the directory of another distribution", path)
		}
	}
	for _, why := range slices.Concat(wrongMetadata(m, info, files, classifiers), wrongTags(m, string(files[info+"WHEEL"])), wrongRecord(info, files)) {
		bad("%s", why)
	}
	return reasons
}

// members reads all files of a zip. A name that leads elsewhere or is there twice is an
// error.
func members(data []byte) (map[string][]byte, error) {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, f := range z.File {
		if strings.ContainsAny(f.Name, "\\:\x00") || strings.HasPrefix(f.Name, "/") || slices.Contains(strings.Split(f.Name, "/"), "..") {
			return nil, fmt.Errorf("unsafe file name %q", f.Name)
		}
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		if _, twice := files[f.Name]; twice {
			return nil, fmt.Errorf("duplicate file name %s", f.Name)
		}
		if f.Method != zip.Deflate && f.Method != zip.Store {
			return nil, fmt.Errorf("%s has an unknown compression", f.Name)
		}
		in, err := f.Open()
		if err != nil {
			return nil, err
		}
		files[f.Name], err = io.ReadAll(in) // checks the sum
		_ = in.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return files, nil
}

// strictZip reads a zip from its beginning, as a streaming reader does, and returns where
// that differs from its central directory.
func strictZip(data []byte) string {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return err.Error()
	}
	at := 0
	for _, f := range z.File {
		if len(data) < at+30 || string(data[at:at+4]) != "PK\x03\x04" {
			return "no local header where one is expected, before " + f.Name
		}
		head := data[at : at+30]
		number := func(at int) int { return int(binary.LittleEndian.Uint32(head[at:])) }
		nameSize, extra := int(binary.LittleEndian.Uint16(head[26:])), int(binary.LittleEndian.Uint16(head[28:]))
		if string(data[at+30:min(at+30+nameSize, len(data))]) != f.Name {
			return "the local header has another name than " + f.Name
		}
		if head[6]&8 != 0 {
			return f.Name + " has a data descriptor"
		}
		if number(18) != int(f.CompressedSize64) || number(22) != int(f.UncompressedSize64) {
			return f.Name + " has another size in its local header"
		}
		at += 30 + nameSize + extra + number(18)
	}
	for range z.File {
		if len(data) < at+46 || string(data[at:at+4]) != "PK\x01\x02" {
			return "something is between the files and the central directory"
		}
		head := data[at : at+46]
		at += len(head)
		for _, size := range []int{28, 30, 32} { // name, extra field, comment
			at += int(binary.LittleEndian.Uint16(head[size:]))
		}
	}
	if len(data) != at+22 || string(data[at:at+4]) != "PK\x05\x06" {
		return "trailing data"
	}
	return ""
}

// since is the metadata version with which a field appeared.
var since = map[string]string{
	"Project-URL": "1.2", "Requires-Dist": "1.2", "Requires-Python": "1.2", "Description-Content-Type": "2.1", "License-Expression": "2.4", "License-File": "2.4",
}

func wrongMetadata(m []string, info string, files map[string][]byte, classifiers []string) (wrong []string) {
	text, there := files[info+"METADATA"]
	if !there {
		return []string{"no METADATA in " + info}
	}
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	head, _, _ := strings.Cut(string(text), "\n\n")
	if strings.Contains(head, "\r") {
		bad("METADATA has line ends of Windows")
	}
	fields := map[string][]string{}
	for line := range strings.SplitSeq(head, "\n") {
		name, value, ok := strings.Cut(line, ": ")
		if !ok || value == "" || strings.TrimSpace(value) != value {
			bad("METADATA contains %q", line)
		}
		fields[name] = append(fields[name], value)
	}
	get := func(name string) string { return strings.Join(fields[name], "\n") }
	version := get("Metadata-Version")
	if version != "2.1" && version != "2.4" {
		bad("%q is not a valid metadata version", version)
	}
	for name, values := range fields {
		if len(values) > 1 && !slices.Contains([]string{"Classifier", "Project-URL", "Requires-Dist", "License-File"}, name) {
			bad("several fields %s", name)
		}
		if first := since[name]; first > version {
			bad("%s was introduced in metadata version %s", name, first)
		}
	}
	if strings.ReplaceAll(normal(get("Name")), "-", "_") != m[1] || get("Version") != m[2] {
		bad("the metadata is of %s %s", get("Name"), get("Version"))
	}
	if strings.Contains(get("Version"), "+") {
		bad("the use of local versions in %s is not allowed", get("Version"))
	}
	if get("License") != "" && get("License-Expression") != "" {
		bad("License and License-Expression exclude each other")
	}
	for _, file := range fields["License-File"] {
		if _, ok := files[info+"licenses/"+file]; !ok {
			bad("License-File %s does not exist", file)
		}
	}
	if len(get("Summary")) > 512 {
		bad("the summary is too long")
	}
	if kind := get("Description-Content-Type"); !slices.Contains([]string{"text/plain", "text/markdown", "text/x-rst"}, kind) {
		bad("invalid description content type %q", kind)
	}
	return append(append(wrong, wrongAddresses(fields)...), wrongClassifiers(fields, classifiers)...)
}

func wrongAddresses(fields map[string][]string) (wrong []string) {
	addresses := slices.Clone(fields["Home-page"])
	for _, line := range fields["Project-URL"] {
		label, address, _ := strings.Cut(line, ", ")
		if label == "" || len(label) > 32 {
			wrong = append(wrong, fmt.Sprintf("the label of Project-URL %q is empty or too long", line))
		}
		addresses = append(addresses, address)
	}
	for _, address := range addresses {
		if u, err := url.Parse(address); err != nil || u.Scheme != "https" || u.Host == "" {
			wrong = append(wrong, fmt.Sprintf("%q is not a valid URL", address))
		}
	}
	return wrong
}

func wrongClassifiers(fields map[string][]string, known []string) (wrong []string) {
	for _, c := range fields["Classifier"] {
		if known != nil && !slices.Contains(known, c) {
			wrong = append(wrong, fmt.Sprintf("%q is not a valid classifier", c))
		}
		if strings.HasPrefix(c, "License :: ") && len(fields["License-Expression"]) > 0 {
			wrong = append(wrong, fmt.Sprintf("the licence expression replaces %q", c))
		}
	}
	return wrong
}

// wrongTags compares the tags in WHEEL with those of the name.
func wrongTags(m []string, wheel string) (wrong []string) {
	var named, inside []string
	for python := range strings.SplitSeq(m[4], ".") {
		for abi := range strings.SplitSeq(m[5], ".") {
			for platform := range strings.SplitSeq(m[6], ".") {
				named = append(named, python+"-"+abi+"-"+platform)
			}
		}
	}
	build := ""
	for line := range strings.SplitSeq(wheel, "\n") {
		switch name, value, _ := strings.Cut(line, ": "); name {
		case "Tag":
			inside = append(inside, value)
		case "Build":
			build = value
		case "Root-Is-Purelib":
			if (m[6] == "any") != (value == "true") {
				wrong = append(wrong, "Root-Is-Purelib is "+value+" for the platform "+m[6])
			}
		}
	}
	slices.Sort(named)
	slices.Sort(inside)
	if !slices.Equal(named, inside) || build != m[3] || !strings.Contains(wheel, "Wheel-Version: 1.0\n") {
		wrong = append(wrong, fmt.Sprintf("WHEEL is of another version or build than 1.0 and %q, or has the tags %q instead of %q", m[3], inside, named))
	}
	return wrong
}

// wrongRecord compares RECORD with the files.
func wrongRecord(info string, files map[string][]byte) (wrong []string) {
	rows, err := csv.NewReader(bytes.NewReader(files[info+"RECORD"])).ReadAll()
	if err != nil {
		return []string{"RECORD: " + err.Error()}
	}
	listed := map[string]bool{}
	for _, row := range rows {
		content, there := files[row[0]]
		sum := sha256.Sum256(content)
		hash, size := "sha256="+base64.RawURLEncoding.EncodeToString(sum[:]), fmt.Sprint(len(content))
		switch own := row[0] == info+"RECORD"; {
		case listed[row[0]] || !there || len(row) != 3:
			wrong = append(wrong, "RECORD lists "+row[0]+", which does not exist, or twice")
		case own && (row[1] != "" || row[2] != ""), !own && (row[1] != hash || row[2] != size):
			wrong = append(wrong, "RECORD has another hash or size of "+row[0])
		}
		listed[row[0]] = true
	}
	for path := range files {
		if !listed[path] {
			wrong = append(wrong, "RECORD does not list "+path)
		}
	}
	return wrong
}
