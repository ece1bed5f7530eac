package cli

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

var (
	yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")
	ourWords  = regexp.MustCompile(`modwsgi (?:[a-z]+)(?: [^|&;)"\n]*)?`)
)

// TestSnippets checks the pages that people copy from: the YAML must be valid, and the
// commands in it must exist with these flags. TestCommandsOfThePages checks the other
// blocks.
func TestSnippets(t *testing.T) {
	for page, least := range map[string]int{"../../docs/guides/ci.md": 9} {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		var commands []string
		blocks := yamlBlock.FindAllStringSubmatch(string(data), -1)
		for _, m := range blocks {
			var doc map[string]any
			if err := yaml.Unmarshal([]byte(m[1]), &doc); err != nil {
				t.Errorf("%s: %v\n%s", page, err, m[1])
			}
			texts(doc, func(s string) { commands = append(commands, ourWords.FindAllString(s, -1)...) })
		}
		if len(commands) < least {
			t.Errorf("%s: only %d commands: %q", page, len(commands), commands)
		}
		for _, c := range commands {
			exists(t, page, c)
		}
	}
}

// texts calls do for every string in a document.
func texts(v any, do func(string)) {
	switch v := v.(type) {
	case string:
		do(v)
	case []any:
		for _, e := range v {
			texts(e, do)
		}
	case map[string]any:
		for _, e := range v {
			texts(e, do)
		}
	}
}

func exists(t *testing.T, page, command string) {
	t.Helper()
	a := &app{Process: Process{Stdout: new(strings.Builder), Stderr: new(strings.Builder)}}
	root := a.root()
	words := strings.Fields(command)[1:]
	c, rest, err := root.Find(words)
	if err != nil || c == root {
		t.Errorf("%s: %q is not a command: %v", page, command, err)
		return
	}
	var known *cobra.Command = c
	for _, w := range rest {
		name, isFlag := strings.CutPrefix(w, "--")
		if !isFlag {
			continue
		}
		name, _, _ = strings.Cut(name, "=")
		var f *pflag.Flag
		if f = known.Flags().Lookup(name); f == nil {
			f = known.InheritedFlags().Lookup(name)
		}
		if f == nil {
			t.Errorf("%s: %q: unknown flag --%s", page, command, name)
		}
	}
}
