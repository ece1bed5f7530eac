"""Commands for Django, where mod_wsgi.server is in INSTALLED_APPS."""
