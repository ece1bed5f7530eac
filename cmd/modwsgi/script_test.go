//go:build unix

package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// The scripts in testdata/script run the program as a user does, with the tools that
// they bring along and nothing else on PATH: no compiler, no Python, no network.

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"modwsgi": main}) }

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir+"/home")
			e.Setenv("XDG_CACHE_HOME", e.WorkDir+"/cache")
			e.Setenv("LANG", "C.UTF-8")
			return nil
		},
	})
}
