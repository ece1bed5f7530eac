"""The command for projects that list mod_wsgi.server, as was usual."""

from mod_wsgi.express.management.commands.runmodwsgi import Command

__all__ = ["Command"]
