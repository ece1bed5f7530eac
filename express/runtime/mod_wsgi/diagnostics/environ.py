"""Reports the environment of an application: its process, its Python and the request.

The response contains secrets.  Use this application only on a server that nobody
else can reach.
"""

import locale
import os
import sys


def report(environ):
    """Return the lines of the response, without the request's body."""
    yield "PID: %s" % os.getpid()
    if hasattr(os, "getuid"):
        yield "UID: %s" % os.getuid()
        yield "GID: %s" % os.getgid()
    yield "CWD: %s" % os.getcwd()
    yield ""
    yield "python.version: %s" % sys.version.replace("\n", " ")
    yield "python.prefix: %s" % sys.prefix
    for path in sys.path:
        yield "python.path: %s" % path
    yield "locale: %s" % ".".join(part or "" for part in locale.getlocale())
    yield "filesystem.encoding: %s" % sys.getfilesystemencoding()
    import mod_wsgi

    for name in ("version", "process_group", "application_group", "maximum_processes", "threads_per_process"):
        if hasattr(mod_wsgi, name):
            yield "mod_wsgi.%s: %s" % (name, getattr(mod_wsgi, name))
    for title, values in (("request", environ), ("process", os.environ)):
        yield ""
        for key in sorted(values):
            yield "%s.%s: %r" % (title, key, values[key])


def application(environ, start_response):
    text = "".join(line + "\n" for line in report(environ))
    body = text.encode("utf-8", "backslashreplace")
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if length > 0:
        body += b"\n" + environ["wsgi.input"].read(length)
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]
