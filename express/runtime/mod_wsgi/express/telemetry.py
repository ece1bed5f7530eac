"""The service that collects telemetry (--enable-telemetry).

The launcher copies this file to the server root, where settings.json contains the
socket and the port.  The collector itself is the package mod_wsgi-telemetry.
"""

import json
import os
import pkgutil
import sys
from importlib import metadata

import mod_wsgi


def _program():
    try:
        points = metadata.distribution("mod_wsgi-telemetry").entry_points
    except metadata.PackageNotFoundError:
        raise ImportError("--enable-telemetry needs the package mod_wsgi-telemetry; install it into this environment") from None
    # The collector is part of the package mod_wsgi, which was imported before the
    # directories of --python-path were known.
    mod_wsgi.__path__ = pkgutil.extend_path(mod_wsgi.__path__, "mod_wsgi")
    for point in points:
        if point.group == "console_scripts":
            return point.load()
    raise ImportError("the package mod_wsgi-telemetry contains no program")


def _run():
    name = os.path.join(os.path.dirname(os.path.abspath(__file__)), "settings.json")
    with open(name, encoding="utf-8") as stream:
        settings = json.load(stream)["telemetry"]
    program = _program()
    sys.argv = [
        "mod_wsgi-telemetry", "serve", "--listen", settings["listen"],
        "--http-host", "127.0.0.1", "--http-port", str(settings["port"]), "--log-level", "INFO",
    ]
    program()


_run()
