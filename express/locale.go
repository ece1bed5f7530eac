package express

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"

	"modwsgi/express/config"
	"modwsgi/internal/run"
)

// localeDir is where glibc keeps its locales.
const localeDir = "/usr/lib/locale"

// chooseLocale is localeOf for a start: a locale that was asked for by name and
// that this machine does not have would leave the application in the C locale,
// where text and file names are ASCII, so it is said and another one taken.
func (p *Program) chooseLocale(s *Server) string {
	locale := localeOf(s, p.Env)
	option := config.Locale
	if config.Locale.In(s) == "" {
		option = config.Lang
	}
	if (locale == config.Locale.In(s) || locale == config.Lang.In(s)) && !localeExists(localeDir, locale) {
		p.warn("option " + option.Flag() + ": this machine has no locale " + run.Quote(locale) + " (see locale -a); C.UTF-8 is used")
		return "C.UTF-8"
	}
	return locale
}

// localeOf tells the application's locale: as said, else that of the launcher,
// where C and POSIX become C.UTF-8, in which Python is at home.
func localeOf(s *Server, env []string) string {
	for _, v := range []string{config.Locale.In(s), config.Lang.In(s), run.Getenv(env, "LC_ALL"), run.Getenv(env, "LC_CTYPE"), run.Getenv(env, "LANG")} {
		if v == "" {
			continue
		}
		said := v == config.Locale.In(s) || v == config.Lang.In(s)
		if !said && (v == "C" || v == "POSIX" || !localeExists(localeDir, v)) {
			break
		}
		return v
	}
	return "C.UTF-8"
}

// localeExists says whether the C library has a locale: with one that it has not,
// Python does not find its own files if their path is not ASCII. dir is where
// glibc keeps them; without that directory nothing is known and all are believed.
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
			continue // a directory all the same
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
