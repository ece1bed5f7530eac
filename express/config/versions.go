package config

import (
	"modwsgi/express/site"
	"modwsgi/internal/fault"
)

// checkVersions returns an error if the installed module is too old, or does not
// support an option that was given.
func checkVersions(s *Server, module string) error {
	if !site.AtLeastVersion(module, site.OldestModule) {
		return fault.New(fault.Environment, "install a newer one: modwsgi install --mod-wsgi-version '>= "+site.OldestModule+"'",
			"the installed mod_wsgi is %s; this launcher needs %s or newer, because older versions fail requests with many headers", site.OrUnknown(module), site.OldestModule)
	}
	for _, o := range Table().Options() {
		if s.Given(o) && !site.AtLeastVersion(module, Since(o)) {
			return fault.New(fault.Usage, "install a newer one: modwsgi install --mod-wsgi-version '>= "+Since(o)+"'",
				"option %s needs mod_wsgi %s or newer; the installed one is %s", o, Since(o), module)
		}
	}
	return carried(s, Table().Options())
}
