package config

import "modwsgi/express/option"

const newRelic = "was dropped in mod_wsgi 6.0.0; start the New Relic agent in the application itself"

// gone has removed options of upstream's launcher, each with a message about what to
// do instead.
var gone = feature{
	options: option.NewGroup("Gone",
		option.Toggle("with-newrelic", "").Removed(newRelic),
		option.Toggle("with-newrelic-agent", "").Removed(newRelic),
		option.Toggle("with-newrelic-platform", "").Removed(newRelic),
		option.Text("newrelic-config-file", "", "FILE", "").DefaultText("empty").Removed(newRelic),
		option.Text("newrelic-environment", "", "NAME", "").DefaultText("empty").Removed(newRelic),
		option.Toggle("isatty", "").With(unixOnly).
			Removed("was dropped in mod_wsgi 4.8.0; the launcher always supervises httpd, whether or not it runs in a terminal"),
		option.Toggle("with-php5", "").
			Removed("is not supported: PHP 5 is no longer maintained; use --include-file for another handler"),
		option.Number("proxy-buffer-size", "0", "BYTES", "").
			Removed("was renamed in mod_wsgi 4.4.7; use --response-buffer-size"),
	),
}
