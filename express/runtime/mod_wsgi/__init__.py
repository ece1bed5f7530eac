"""The Python side of mod_wsgi.

Inside httpd the module adds to this package what it knows about the process:
version, process_group, application_group and more.  Outside it is empty.  Other
directories of the module path may add to it: mod_wsgi-telemetry is a part of it.
"""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
