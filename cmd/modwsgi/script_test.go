//go:build unix

package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/cli"
	"modwsgi/internal/scripttest"
)

const scripts = "testdata/script"

func TestMain(m *testing.M) { scripttest.Main(m, map[string]func(){"modwsgi": main}) }

func TestScripts(t *testing.T) { scripttest.Run(t, scripts) }

// TestEveryCommandHasAScript gets the commands from the program as shell completion
// does.
func TestEveryCommandHasAScript(t *testing.T) {
	scripttest.Covered(t, scripts, "modwsgi", "modwsgi", commandsBelow(t, t.TempDir(), nil))
}

func commandsBelow(t *testing.T, dir string, words []string) [][]string {
	t.Helper()
	var out, errOut bytes.Buffer
	args := slices.Concat([]string{"__complete"}, words, []string{""})
	if code := cli.Main(t.Context(), cli.Process{Args: args, Dir: dir, Stdout: &out, Stderr: &errOut}); code != 0 {
		t.Fatalf("%v: exit code %d: %s", args, code, errOut.String())
	}
	var all [][]string
	for line := range strings.Lines(out.String()) {
		name, _, described := strings.Cut(line, "\t")
		if !described || len(words) > 0 && words[0] == "help" { // help takes the names of commands
			continue
		}
		below := append(slices.Clone(words), name)
		all = append(append(all, below), commandsBelow(t, dir, below)...)
	}
	return all
}
