package makefile

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func readText(t *testing.T, files map[string]string, given map[string]string) (*File, error) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Read(filepath.Join(dir, "Makefile"), given)
}

// A makefile similar to httpd's.
var sample = map[string]string{
	"Makefile": "top = .\nSOURCES = a.c \\\n  sub/b.c # two\nOBJECTS = $(SOURCES:.c=.lo) $(MORE)\n" +
		"include $(top)/rules.mk\n-include none.mk\nV ?= 0\nAM_0 = @echo CC $@;\nAM_1 =\nAM = $(AM_$(V))\n" +
		"lib.la: $(OBJECTS) x.h\n\t$(LINK) -rpath $(libdir) $(OBJECTS) ${LIBS}\n" +
		"a.lo: x.h\nsub/b.lo: sub/b.c y.h\n" +
		"x.h: gen\n\t@echo making $@\n\t-./gen > $@ # shell's\n\t# nothing\nauto.o: auto.c\n\t$(AM)$(CC) -c -o $@ $<\n" +
		"self = $(self)\nloop: self\n\t$(self)\nfunc = $(shell date)\nuses: \n\techo $(func)\none two: three; touch $@\n",
	"rules.mk": "libdir := /opt/lib\ndir = $(libdir)\nlibdir = /usr/lib\nCC = cc\nFLAGS = -O2\nFLAGS += -g\nLIBS = -lm\nCOMPILE = $(CC) $(FLAGS)\nLINK = link $(FLAGS) -o $@\n.SUFFIXES: .c .lo\n.c.lo:\n\t$(COMPILE) -c $< -o $@ -n $*  && touch $@\n",
}

func TestCommands(t *testing.T) {
	f, err := readText(t, sample, map[string]string{"V": "1"})
	if err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]struct {
		needs    string
		commands []string
	}{
		"lib.la":   {"a.lo sub/b.lo x.h", []string{"link -O2 -g -o lib.la -rpath /usr/lib a.lo sub/b.lo  -lm"}},
		"a.lo":     {"a.c x.h", []string{"cc -O2 -g -c a.c -o a.lo -n a  && touch a.lo"}},
		"sub/b.lo": {"sub/b.c y.h", []string{"cc -O2 -g -c sub/b.c -o sub/b.lo -n sub/b  && touch sub/b.lo"}},
		"c.lo":     {"c.c", []string{"cc -O2 -g -c c.c -o c.lo -n c  && touch c.lo"}},
		"x.h":      {"gen", []string{"echo making x.h", "./gen > x.h # shell's"}},
		"auto.o":   {"auto.c", []string{"cc -c -o auto.o auto.c"}},
		"two":      {"three", []string{"touch two"}},
	} {
		needs, commands, err := f.Commands(target)
		if err != nil || strings.Join(needs, " ") != want.needs || !slices.Equal(commands, want.commands) {
			t.Errorf("%s: got %q, %q, %v", target, needs, commands, err)
		}
	}
	if words, err := f.Words("dir"); err != nil || !slices.Equal(words, []string{"/usr/lib"}) {
		t.Errorf("got %q, %v", words, err)
	}
}

func TestNotUnderstood(t *testing.T) {
	f, err := readText(t, sample, nil)
	if err != nil {
		t.Fatal(err)
	}
	var unknown *Unknown
	for _, target := range []string{"nothing", "loop", "uses", "gen", ".SUFFIXES"} {
		if _, commands, err := f.Commands(target); !errors.As(err, &unknown) {
			t.Errorf("%s: got %q, %v", target, commands, err)
		}
	}
	for _, text := range []string{"$(A", "$(A:.c=%.o)", "$(A:x)", "$(wildcard *.c)", "$(patsubst a,b,c)"} {
		if got, err := f.Expand(text, nil); !errors.As(err, &unknown) {
			t.Errorf("%s: got %q, %v", text, got, err)
		}
	}
	for name, text := range map[string]string{
		"conditional": "ifeq (a,b)\nX = 1\nendif\n", "definition": "define X\n\techo\nendef\n", "no rule": "hello world\n", "cycle": "include Makefile\n",
		"open reference": "$(X: y\n", "export": "export X = 1\n",
	} {
		if _, err := readText(t, map[string]string{"Makefile": text}, nil); !errors.As(err, &unknown) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := readText(t, map[string]string{"Makefile": "include none.mk\n"}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestExpand(t *testing.T) {
	f, err := readText(t, map[string]string{"Makefile": "A = 1 2.c 3.c\nB := $(A)\nA += 4.c\nE =\nD = a$$b\nC := $(D)\nN = A\nO ?= o\nO ?= p\n"}, map[string]string{"E": "given"})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"$(A)": "1 2.c 3.c 4.c", "$(B)": "1 2.c 3.c", "$(A:.c=.o)": "1 2.o 3.o 4.o", "${A:.c=}": "1 2 3 4", "$(D)": "a$b", "$(C)": "a$b", "$$x": "$x",
		"$($(N))": "1 2.c 3.c 4.c", "$(none)": "", "$E": "given", "$(E)x": "givenx", "$(O)": "o", "$@": "t", "a$": "a", "$(CC)": "cc",
	} {
		if got, err := f.Expand(text, map[string]string{"@": "t"}); got != want || err != nil {
			t.Errorf("%s: got %q, %v, want %q", text, got, err, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, text := range sample {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		file, err := readText(t, map[string]string{"Makefile": text}, nil)
		if err != nil {
			return
		}
		for target := range file.rules {
			_, _, _ = file.Commands(target)
		}
	})
}
