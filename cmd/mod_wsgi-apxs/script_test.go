//go:build unix

package main

import (
	"testing"

	"modwsgi/internal/scripttest"
)

func TestMain(m *testing.M) { scripttest.Main(m, map[string]func(){"mod_wsgi-apxs": main}) }

func TestScripts(t *testing.T) { scripttest.Run(t, "testdata/script") }
