package express

import (
	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/internal/run"
)

// chooseLocale is localeOf for a start: a locale that was asked for by name and
// that this machine does not have would leave the application in the C locale,
// where text and file names are ASCII, so it is said and another one taken.
func (p *Program) chooseLocale(s *Server) string {
	locale := host.Locale(p.Env, config.Locale.In(s), config.Lang.In(s))
	option := config.Locale
	if config.Locale.In(s) == "" {
		option = config.Lang
	}
	if (locale == config.Locale.In(s) || locale == config.Lang.In(s)) && !host.HasLocale(locale) {
		p.warn("option " + option.Flag() + ": this machine has no locale " + run.Quote(locale) + " (see locale -a); C.UTF-8 is used")
		return "C.UTF-8"
	}
	return locale
}
