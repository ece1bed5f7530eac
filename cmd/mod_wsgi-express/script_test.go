//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/express"
	"modwsgi/internal/scripttest"
)

const scripts = "testdata/script"

func TestMain(m *testing.M) { scripttest.Main(m, map[string]func(){"mod_wsgi-express": main}) }

func TestScripts(t *testing.T) { scripttest.Run(t, scripts) }

// TestEveryCommandHasAScript reads the commands from the program's own help.
func TestEveryCommandHasAScript(t *testing.T) {
	help, err := os.Create(filepath.Join(t.TempDir(), "help"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = help.Close() }()
	if code := express.Run(t.Context(), &express.Console{Stdout: help, Stderr: os.Stderr}, &express.Invocation{Args: []string{"--help"}}); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	text, err := os.ReadFile(help.Name())
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(text), "\nCommands:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	var commands [][]string
	for line := range strings.Lines(list) {
		commands = append(commands, strings.Fields(line)[:1])
	}
	scripttest.Covered(t, scripts, "mod_wsgi-express", "mod_wsgi-express", commands)
}
