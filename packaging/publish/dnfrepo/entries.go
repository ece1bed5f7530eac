package dnfrepo

import (
	"encoding/xml"
	"fmt"
	"strings"
)

// The names of the indexes, in the order in which repomd.xml lists them.
var indexNames = []string{"primary", "filelists", "other"}

// heads are the beginnings of the indexes' documents; %d is the number of packages.
var heads = map[string]string{
	"primary":   `<metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm" packages="%d">`,
	"filelists": `<filelists xmlns="http://linux.duke.edu/metadata/filelists" packages="%d">`,
	"other":     `<otherdata xmlns="http://linux.duke.edu/metadata/other" packages="%d">`,
}

var tails = map[string]string{"primary": "</metadata>\n", "filelists": "</filelists>\n", "other": "</otherdata>\n"}

// escape makes a text safe in XML, in elements and in attributes. Characters that XML does
// not have become U+FFFD.
func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a strings.Builder does not fail
	return strings.ReplaceAll(b.String(), "&#xA;", "\n")
}

// place is where the package is in the repository, and when it got there.
type place struct {
	sum, href string
	size      int64
	time      int64 // seconds since 1970
}

// entries returns the elements of a package in the indexes.
func (p *rpm) entries(at place) map[string]string {
	return map[string]string{"primary": p.primary(at), "filelists": p.filelist(at), "other": p.other(at)}
}

func (p *rpm) versionElement() string {
	return fmt.Sprintf(`<version epoch="%s" ver="%s" rel="%s"/>`, escape(p.epoch), escape(p.version), escape(p.main.text(tagRelease)))
}

func (p *rpm) primary(at place) string {
	var b strings.Builder
	h := p.main
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line(`<package type="rpm">`)
	line(`  <name>%s</name>`, escape(h.text(tagName)))
	line(`  <arch>%s</arch>`, escape(p.arch()))
	line(`  %s`, p.versionElement())
	line(`  <checksum type="sha256" pkgid="YES">%s</checksum>`, at.sum)
	line(`  <summary>%s</summary>`, escape(h.text(tagSummary)))
	line(`  <description>%s</description>`, escape(h.text(tagDescription)))
	line(`  <packager>%s</packager>`, escape(h.text(tagPackager)))
	line(`  <url>%s</url>`, escape(h.text(tagURL)))
	line(`  <time file="%d" build="%d"/>`, at.time, h.number(tagBuildTime))
	line(`  <size package="%d" installed="%d" archive="%d"/>`, at.size, h.number(tagLongSize, tagSize), p.archive)
	line(`  <location href="%s"/>`, escape(at.href))
	line(`  <format>`)
	line(`    <rpm:license>%s</rpm:license>`, escape(h.text(tagLicense)))
	line(`    <rpm:vendor>%s</rpm:vendor>`, escape(h.text(tagVendor)))
	line(`    <rpm:group>%s</rpm:group>`, escape(h.text(tagGroup)))
	line(`    <rpm:buildhost>%s</rpm:buildhost>`, escape(h.text(tagBuildHost)))
	line(`    <rpm:sourcerpm>%s</rpm:sourcerpm>`, escape(h.text(tagSourceRPM)))
	line(`    <rpm:header-range start="%d" end="%d"/>`, p.start, p.end)
	for _, r := range relations {
		if len(p.dependencies[r.element]) == 0 {
			continue
		}
		line(`    <rpm:%s>`, r.element)
		for _, d := range p.dependencies[r.element] {
			line(`      <rpm:entry%s/>`, d.attributes())
		}
		line(`    </rpm:%s>`, r.element)
	}
	for _, f := range p.files {
		if important(f.name) {
			line(`    %s`, f.element())
		}
	}
	line(`  </format>`)
	b.WriteString("</package>")
	return b.String()
}

func (d *dependency) attributes() string {
	out := fmt.Sprintf(` name="%s"`, escape(d.name))
	if d.flags != "" {
		out += fmt.Sprintf(` flags="%s" epoch="%s" ver="%s"`, d.flags, escape(d.epoch), escape(d.version))
		if d.release != "" {
			out += fmt.Sprintf(` rel="%s"`, escape(d.release))
		}
	}
	if d.script {
		out += ` pre="1"`
	}
	return out
}

// important reports whether the main index lists a file, because others may require it:
// the rule of createrepo_c.
func important(name string) bool {
	return strings.HasPrefix(name, "/etc/") || name == "/usr/lib/sendmail" || strings.Contains(name, "bin/")
}

func (f *rpmFile) element() string {
	if f.kind == "" {
		return "<file>" + escape(f.name) + "</file>"
	}
	return fmt.Sprintf(`<file type="%s">%s</file>`, f.kind, escape(f.name))
}

// begin is the beginning of an element in the two smaller indexes.
func (p *rpm) begin(at place) string {
	return fmt.Sprintf("<package pkgid=\"%s\" name=\"%s\" arch=\"%s\">\n  %s\n", at.sum, escape(p.main.text(tagName)), escape(p.arch()), p.versionElement())
}

func (p *rpm) filelist(at place) string {
	var b strings.Builder
	b.WriteString(p.begin(at))
	for _, f := range p.files {
		b.WriteString("  " + f.element() + "\n")
	}
	b.WriteString("</package>")
	return b.String()
}

// maxChangelog is the number of entries of a changelog in the index.
const maxChangelog = 10

func (p *rpm) other(at place) string {
	var b strings.Builder
	b.WriteString(p.begin(at))
	times, names, texts := p.main.numbers(tagChangeTime), p.main.texts(tagChangeName), p.main.texts(tagChangeText)
	for i := min(len(times), len(names), len(texts), maxChangelog) - 1; i >= 0; i-- { // the oldest first
		fmt.Fprintf(&b, "  <changelog author=\"%s\" date=\"%d\">%s</changelog>\n", escape(names[i]), times[i], escape(texts[i]))
	}
	b.WriteString("</package>")
	return b.String()
}
