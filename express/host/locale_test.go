package host

import (
	"os"
	"path/filepath"
	"testing"
)

func TestLocaleExists(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "C.utf8"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "locale-archive"), []byte("x\x00de_DE.utf8\x00fr_FR\x00"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"C.UTF-8": true, "C.utf8": true, "de_DE.UTF-8": true, "de_DE.utf8": true, "fr_FR": true,
		"tr_TR": false, "de_DE": false, "tr_TR.UTF-8": false, "../x": false, ".": false, "..": false, "C.utf8/.": false, "C.utf8/../C.utf8": false, "de_DE.UTF-8@euro": false,
	} {
		if got := localeExists(dir, name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if !localeExists(filepath.Join(dir, "no"), "tr_TR") {
		t.Error("without a directory of locales, a locale was rejected")
	}
}

func TestLocaleOfTheCaller(t *testing.T) {
	if _, err := os.Stat("/usr/lib/locale"); err != nil {
		t.Skip("this system does not keep locales in /usr/lib/locale")
	}
	if got := Locale([]string{"LC_ALL=xx_XX.UTF-8"}); got != "C.UTF-8" {
		t.Errorf("a missing locale became %s", got)
	}
	if got := Locale(nil, "xx_XX"); got != "xx_XX" {
		t.Errorf("the value of --locale became %s", got)
	}
}

func TestLocale(t *testing.T) {
	german := "de_DE.UTF-8"
	if !localeExists("/usr/lib/locale", german) {
		german = "C.UTF-8"
	}
	for _, c := range []struct {
		option string
		env    []string
		want   string
	}{
		{"", nil, "C.UTF-8"},
		{"", []string{"LANG=de_DE.UTF-8"}, german},
		{"", []string{"LANG=de_DE.UTF-8", "LC_ALL=C"}, "C.UTF-8"},
		{"POSIX", []string{"LANG=de_DE.UTF-8"}, "POSIX"},
	} {
		if got := Locale(c.env, c.option); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}
