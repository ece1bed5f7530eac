"""Starting the launcher from Python, where software expects to find it."""

from mod_wsgi.express import launcher, main, start

__all__ = ["launcher", "main", "start"]
