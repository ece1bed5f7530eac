"""The command for projects that still list mod_wsgi.server in INSTALLED_APPS."""

from mod_wsgi.express.management.commands.runmodwsgi import Command

__all__ = ["Command"]
