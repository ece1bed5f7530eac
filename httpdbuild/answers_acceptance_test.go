//go:build acceptance

package httpdbuild

import (
	"os"
	"path/filepath"
	"testing"

	"modwsgi/internal/objgraph"
	"modwsgi/internal/run"
	"modwsgi/internal/steps"
	"modwsgi/internal/testkit"
	"modwsgi/internal/toolchain"
)

// The compiler answers as the scripts do that run all tests themselves: with every
// compiler and C library that is installed, and for another machine.
func TestAnswersAreThoseOfTheScripts(t *testing.T) {
	testkit.Turn(t, "builds")
	parts := archives(t, "httpd", "apr", "apr-util", "pcre2")
	for _, cc := range []string{"gcc", "clang", "musl-gcc", "aarch64-linux-gnu-gcc"} {
		t.Run(cc, func(t *testing.T) {
			if _, err := run.LookPath(cc, os.Environ()); err != nil {
				t.Skip("NOT TESTED: ", err)
			}
			b := unpacked(t, parts, cc)
			log := logOf(t)
			if err := b.ask(t.Context(), log); err != nil {
				t.Fatal(err)
			}
			b.Driver = Make // scripts get no answers
			if err := b.configurePCRE2(t.Context(), log); err != nil {
				t.Fatal(err)
			}
			if err := b.configureAPR(t.Context(), log); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"apr", "pcre2"} {
				sameAsFound(t, b, name)
			}
		})
	}
}

// unpacked is a builder with the sources of all parts.
func unpacked(t *testing.T, parts []Component, cc string) *builder {
	t.Helper()
	r := &run.Runner{}
	tc, err := toolchain.Find(t.Context(), r, append(os.Environ(), "CC="+cc), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b := &builder{Request: Request{Components: parts, Host: &Host{Toolchain: tc}, Jobs: 2, Driver: Native, Work: t.TempDir(), Runner: r}, pool: objgraph.NewPool(2)}
	if err := os.Mkdir(filepath.Join(b.Work, "tmp"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range parts {
		if err := b.unpack(c)(t.Context(), logOf(t)); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func logOf(t *testing.T) *steps.Log {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return &steps.Log{File: f, Path: path, Step: "step"}
}

// sameAsFound compares the answers for a script with its own results. It does not run all
// of its tests.
func sameAsFound(t *testing.T, b *builder, name string) {
	t.Helper()
	found := answersOf(t, b.Work, name)
	same := 0
	for variable, answer := range b.answers.questions[name].Of(b.answers.asked) {
		alone, ran := found[variable]
		if ran && alone != answer {
			t.Errorf("%s: the compiler's answer to %s is %q, but the script finds %q", name, variable, answer, alone)
		} else if ran {
			same++
		}
	}
	t.Logf("%s: %d of %d answers are those of the script", name, same, len(found))
	if same < 20 {
		t.Errorf("%s: only %d answers were compared", name, same)
	}
}
