"""Commands for Django, where mod_wsgi.express is in INSTALLED_APPS."""
