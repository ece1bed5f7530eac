// Package runtime embeds the Python code of the launcher. The installer places it in
// site-packages as the package mod_wsgi. The package includes the scripts that the
// launcher copies to each server root.
package runtime

import "embed"

// Files contains the Python files, by their path in site-packages.
//
// The patterns match files, because embedding a directory would omit files whose names
// start with an underscore.
//
//go:embed mod_wsgi/*.py mod_wsgi/server/*.py mod_wsgi/express/*.py mod_wsgi/diagnostics/*.py
//go:embed mod_wsgi/server/management/*.py mod_wsgi/server/management/commands/*.py
//go:embed mod_wsgi/express/management/*.py mod_wsgi/express/management/commands/*.py
var Files embed.FS
