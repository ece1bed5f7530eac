"""Reports that everything works."""

import sys


def application(environ, start_response):
    version = ".".join(str(part) for part in sys.version_info[:3])
    body = "Hello from Python {} through {}.\n".format(version, environ.get("SERVER_SOFTWARE", "httpd"))
    data = body.encode("utf-8")
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(data)))])
    return [data]
