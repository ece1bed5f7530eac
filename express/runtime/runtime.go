// Package runtime holds the Python code that belongs to the launcher, for the
// installer to place into site-packages: the package mod_wsgi, and in it the
// glue that the launcher puts into each server root. It knows nothing of Go.
package runtime

import "embed"

// Files are the Python files, by their path in site-packages.
//
// The patterns name the files, because a directory's name leaves out those that
// start with an underscore.
//
//go:embed mod_wsgi/*.py mod_wsgi/server/*.py mod_wsgi/express/*.py mod_wsgi/diagnostics/*.py
//go:embed mod_wsgi/server/management/*.py mod_wsgi/server/management/commands/*.py
//go:embed mod_wsgi/express/management/*.py mod_wsgi/express/management/commands/*.py
var Files embed.FS
