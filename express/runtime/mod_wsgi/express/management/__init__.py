"""Django management commands, for projects with mod_wsgi.express in INSTALLED_APPS."""
