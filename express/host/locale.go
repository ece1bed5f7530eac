package host

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/run"
)

// LocaleDir is the directory in which glibc keeps its locales.
const LocaleDir = "/usr/lib/locale"

// HasLocale reports whether this machine has a locale.
func HasLocale(name string) bool { return localeExists(LocaleDir, name) }

// Locale returns the application's locale: the first non-empty one of asked, or else the
// launcher's locale. It replaces C, POSIX and missing locales of the launcher by
// C.UTF-8.
func Locale(env []string, asked ...string) string {
	for _, v := range append(slices.Clone(asked), run.Getenv(env, "LC_ALL"), run.Getenv(env, "LC_CTYPE"), run.Getenv(env, "LANG")) {
		if v == "" {
			continue
		}
		said := slices.Contains(asked, v)
		if !said && (v == "C" || v == "POSIX" || !localeExists(LocaleDir, v)) {
			break
		}
		return v
	}
	return "C.UTF-8"
}

// localeExists reports whether the C library has a locale. With a missing locale, Python
// does not find its own files if their path is not ASCII. dir is glibc's directory of
// locales. If it does not exist, localeExists returns true for all names.
func localeExists(dir, name string) bool {
	if _, err := os.Stat(dir); err != nil {
		return true
	}
	language, codeset, _ := strings.Cut(name, ".")
	codeset, modifier, _ := strings.Cut(codeset, "@")
	if name == "C" || name == "POSIX" {
		return true
	}
	plain := strings.ToLower(strings.ReplaceAll(codeset, "-", ""))
	names := []string{name}
	if plain != "" {
		normal := language + "." + plain
		if modifier != "" {
			normal += "@" + modifier
		}
		names = append(names, normal)
	}
	archive, _ := os.ReadFile(filepath.Join(dir, "locale-archive"))
	for _, n := range names {
		if n == "." || n == ".." || strings.Contains(n, "/") {
			continue // would name an unrelated directory
		}
		if info, err := os.Stat(filepath.Join(dir, n)); err == nil && info.IsDir() {
			return true
		}
		if bytes.Contains(archive, []byte("\x00"+n+"\x00")) {
			return true
		}
	}
	return strings.EqualFold(name, "C.UTF-8") || strings.EqualFold(name, "C.utf8")
}
