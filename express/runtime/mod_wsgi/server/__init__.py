"""Start the launcher from Python, under the module name that existing software uses."""

from mod_wsgi.express import launcher, main, start

__all__ = ["launcher", "main", "start"]
