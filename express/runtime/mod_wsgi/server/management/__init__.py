"""Django management commands, for projects with mod_wsgi.server in INSTALLED_APPS."""
