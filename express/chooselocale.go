package express

import (
	"modwsgi/express/host"
	"modwsgi/internal/run"
)

// chooseLocale is localeOf for a start: a locale that was asked for by name and
// that this machine does not have would leave the application in the C locale,
// where text and file names are ASCII, so it is said and another one taken.
func (p *Program) chooseLocale(s *Server) string {
	locale := host.Locale(p.Env, s.Locale, s.Lang)
	option := optLocale
	if s.Locale == "" {
		option = optLang
	}
	if (locale == s.Locale || locale == s.Lang) && !host.HasLocale(locale) {
		p.warn("option " + option.Flag() + ": this machine has no locale " + run.Quote(locale) + " (see locale -a); C.UTF-8 is used")
		return "C.UTF-8"
	}
	return locale
}
