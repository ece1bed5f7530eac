package refresh

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"modwsgi/internal/atomicfile"
	"modwsgi/internal/catalogue/publish"
	"modwsgi/internal/recipe"
)

// Print shows the changes with their evidence, as lines to add.
func (r *Report) Print(w io.Writer) {
	for _, c := range r.Changes {
		if c.Archive != nil {
			_, _ = fmt.Fprintf(w, "sources.toml: %s\n", c.Archive)
		} else {
			_, _ = fmt.Fprintf(w, "advisories/%s.json\n", c.Record.ID)
		}
		for _, e := range c.Evidence {
			_, _ = fmt.Fprintf(w, "  %s\n", e)
		}
		text := string(c.text())
		for line := range strings.Lines(text) {
			_, _ = fmt.Fprintf(w, "+%s", line)
		}
	}
	for _, remark := range r.Remarks {
		_, _ = fmt.Fprintf(w, "note: %s\n", remark)
	}
	if len(r.Changes) == 0 {
		_, _ = fmt.Fprintln(w, "nothing new")
	}
}

// text is what is added to a file.
func (c Change) text() []byte {
	if c.Record != nil {
		return c.Record.Encode()
	}
	var b bytes.Buffer
	b.WriteString("[[archive]]\n")
	for _, e := range c.Evidence {
		fmt.Fprintf(&b, "# %s\n", strings.Map(printable, e))
	}
	a := c.Archive
	line := func(key, value string) {
		if value != `""` && value != "[]" && value != "0" && value != "{  }" {
			fmt.Fprintf(&b, "%s = %s\n", key, value)
		}
	}
	line("component", strconv.Quote(a.Component))
	line("version", strconv.Quote(a.Version))
	line("file", strconv.Quote(a.File))
	line("size", strconv.FormatInt(a.Size, 10))
	line("sha256", strconv.Quote(a.SHA256))
	var urls []string
	for _, u := range a.URLs {
		urls = append(urls, strconv.Quote(u))
	}
	line("urls", "["+strings.Join(urls, ", ")+"]")
	line("signature", strconv.Quote(a.Signature))
	line("signed_by", strconv.Quote(a.SignedBy))
	if a.Debian != nil {
		line("debian", fmt.Sprintf("{ source = %q, file = %q }", a.Debian.Source, a.Debian.File))
	}
	var requires []string
	for _, what := range slices.Sorted(maps.Keys(a.Requires)) {
		requires = append(requires, fmt.Sprintf("%s = %q", what, a.Requires[what]))
	}
	line("requires", "{ "+strings.Join(requires, ", ")+" }")
	return b.Bytes()
}

func printable(c rune) rune {
	if c < ' ' || c == 0x7f {
		return '?'
	}
	return c
}

var dateLine = regexp.MustCompile(`(?m)^date = .*$`)

// edit inserts the new archives before the others of their components. It returns the new
// advisories, too.
func (r *Report) edit(text string) (string, []recipe.OSV, error) {
	var records []recipe.OSV
	for _, c := range r.Changes {
		if c.Record != nil {
			records = append(records, *c.Record)
			continue
		}
		at := strings.Index(text, "[[archive]]\ncomponent = \""+c.Archive.Component+"\"\n")
		if at < 0 {
			return "", nil, fmt.Errorf("sources.toml has no archive of %s to insert %s before", c.Archive.Component, c.Archive)
		}
		text = text[:at] + string(c.text()) + "\n" + text[at:]
	}
	return text, records, nil
}

// Write edits the files in a directory. The result is read and compared with what was
// there before anything is written.
func (r *Report) Write(dir string, now time.Time) error {
	if len(r.Changes) == 0 {
		return nil
	}
	before, err := Read(dir)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(filepath.Join(dir, "sources.toml"))
	if err != nil {
		return err
	}
	support, err := os.ReadFile(filepath.Join(dir, "support.toml"))
	if err != nil {
		return err
	}
	text, records, err := r.edit(string(data))
	if err != nil {
		return err
	}
	text = dateLine.ReplaceAllLiteralString(text, "date = "+now.UTC().Format(time.RFC3339))
	after, err := recipe.ReadDocument(text, string(support), os.DirFS(dir))
	if err == nil {
		for _, n := range records {
			after.Advisories = append(slices.DeleteFunc(after.Advisories, func(o recipe.OSV) bool { return o.ID == n.ID }), n)
		}
		after, err = recipe.ParseDocument(after.Encode())
	}
	if err == nil {
		err = publish.Successor(before, after)
	}
	if err != nil {
		return fmt.Errorf("the changed catalogue would not be valid, so nothing was written: %w", err)
	}
	for _, n := range records {
		if err := atomicfile.Write(filepath.Join(dir, "advisories", n.ID+".json"), n.Encode(), 0o644); err != nil {
			return err
		}
	}
	return atomicfile.Write(filepath.Join(dir, "sources.toml"), []byte(text), 0o644)
}
