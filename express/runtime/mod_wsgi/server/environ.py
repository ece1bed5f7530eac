"""The name of this application before mod_wsgi 6."""

from mod_wsgi.diagnostics.environ import application

__all__ = ["application"]
