"""The Python side of mod_wsgi.

Inside httpd, the module adds attributes that describe the process: version,
process_group, application_group and more.  Outside of httpd, the package is empty.
Other distributions can extend it: mod_wsgi-telemetry is part of this package.
"""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
