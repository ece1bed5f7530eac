"""Runs the Python scripts of --add-handler.

The launcher copies this file to the server root as resource.wsgi.  The module
calls handle_request for each file with one of the extensions, which passes the
request to the script: to its handle_request or, if missing, its application.
"""

import json
import os
import sys
import types


def _load(extension, path):
    name = "__wsgi_resource%s__" % extension.replace(".", "_")
    loads = getattr(sys, "_mod_wsgi_loads", None)  # set by handler.wsgi, for --reload-on-changes
    if loads is not None:
        loads.keep(path, again=True)
    with open(path, "rb") as stream:
        source = stream.read()
    module = types.ModuleType(name)
    module.__file__ = path
    sys.modules[name] = module
    exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
    handle = getattr(module, "handle_request", None) or getattr(module, "application", None)
    if handle is None:
        raise AttributeError("the handler script %s has neither handle_request nor application" % path)
    return handle, getattr(module, "reload_required", lambda resource: False)


def _read_settings():
    name = os.path.join(os.path.dirname(os.path.abspath(__file__)), "settings.json")
    with open(name, encoding="utf-8", errors="surrogateescape") as stream:
        return json.load(stream)


_settings = _read_settings()
os.environ.update(_settings["environ"])
_handlers = {extension: _load(extension, path) for extension, path in _settings["handlers"].items()}


def _find(resource):
    """Return the handler for a file: the one with the longest matching extension."""
    name = os.path.basename(resource).lower()
    fitting = [extension for extension in _handlers if name.endswith(extension)]
    if not fitting:
        raise LookupError("no handler for %r" % name)
    return _handlers[max(fitting, key=len)]


def reload_required(resource):
    return _find(resource)[1](resource)


def handle_request(environ, start_response):
    return _find(environ.get("SCRIPT_FILENAME") or environ["SCRIPT_NAME"])[0](environ, start_response)
