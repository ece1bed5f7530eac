"""What runs between the mod_wsgi module and the application.

The launcher copies this file into the server root as handler.wsgi and writes
settings.json beside it.  The module loads it when a process starts, calls
handle_request for each request, and reload_required before, to learn whether
the process is to be replaced.  Nothing here is pasted together from options:
the settings are data.
"""

import functools
import json
import os
import sys
import threading
import types


def _read_settings():
    name = os.path.join(os.path.dirname(os.path.abspath(__file__)), "settings.json")
    with open(name, encoding="utf-8", errors="surrogateescape") as stream:
        return json.load(stream)


_WELCOME = (
    b"<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>mod_wsgi</title></head>\n"
    b"<body><h1>It runs</h1><p>This is mod_wsgi on Apache httpd, and no application was given. Name one:</p>\n"
    b"<pre>mod_wsgi-express start-server wsgi.py</pre></body></html>\n"
)


def _welcome(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(_WELCOME)))])
    return [_WELCOME]


def _nothing(environ, start_response):
    body = b"Not Found\n"
    start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def _load_script(path):
    with open(path, "rb") as stream:
        source = stream.read()
    module = types.ModuleType("__wsgi__")
    module.__file__ = path
    sys.modules["__wsgi__"] = module
    code = compile(source, path, "exec", dont_inherit=True)
    exec(code, module.__dict__)
    return module


def _load_paste(path):
    from paste.deploy import loadapp

    return loadapp("config:" + path)


def _load(settings):
    """Return the application and the file that it came from, None for no file."""
    kind, entry = settings["application_type"], settings["entry_point"]
    if kind == "static":
        return _nothing, None
    if not entry:
        return _welcome, None
    if kind == "paste":
        return _load_paste(entry), entry
    if kind == "module":
        import importlib

        module = importlib.import_module(entry)
    else:
        module = _load_script(entry)
    name = settings["callable_object"]
    try:
        application = getattr(module, name)
    except AttributeError:
        raise AttributeError("the application %s has no %r" % (entry, name)) from None
    return application, getattr(module, "__file__", None)


def _mtime(path):
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None


def _split(path, mount):
    """Divide a URL path into SCRIPT_NAME and PATH_INFO."""
    if mount == "/":
        return "", path
    if path == mount or path.startswith(mount + "/"):
        return mount, path[len(mount):]
    return "", path


def _load_with_tools(settings):
    """Load the application with the tools for debugging around it."""
    wanted = settings.get("tools")
    if not wanted:
        return _load(settings)
    from mod_wsgi.express import tools

    around = []
    if wanted.get("coverage"):
        around.append(tools.Coverage(wanted["coverage"]))
    if wanted.get("profiler"):
        around.append(tools.Profiler(wanted["profiler"]))
    load = functools.partial(_load, settings)
    for tool in around:
        load = functools.partial(tool.around, load)
    application, target = load()
    for tool in around:
        tool.application, application = application, tool
    if wanted.get("debugger"):
        application = tools.Debugger(application, wanted.get("debugger_startup", False))
    if wanted.get("recorder"):
        application = tools.Recorder(application, wanted["recorder"])
    return application, target


class _Handler:
    def __init__(self, settings):
        self.mount = settings["mount_point"]
        # WSGI strings carry bytes as Latin-1 characters (PEP 3333).
        self.mount = self.mount.encode("utf-8", "surrogateescape").decode("latin-1")
        self.application, self.target = _load_with_tools(settings)
        self.mtime = _mtime(self.target) if self.target else None
        self.reloading = settings["reloading"] and self.target is not None

    def reload_required(self, resource):
        return self.reloading and _mtime(self.target) != self.mtime

    def handle_request(self, environ, start_response):
        # httpd has found the first part of the path below the document root
        # and calls only that the script; for the application both are path.
        if environ.get("mod_wsgi.mount_point") is not None and "mod_wsgi.script_name" in environ:
            # A trusted proxy told where it has mounted us.
            path = environ["mod_wsgi.script_name"] + environ.get("PATH_INFO", "")
            environ["PATH_INFO"] = _split(path, self.mount)[1]
        else:
            path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
            environ["SCRIPT_NAME"], environ["PATH_INFO"] = _split(path, self.mount)
        return self.application(environ, start_response)


class _Monitor(threading.Thread):
    """Ends the process when a file of a module it has loaded changes.

    mod_wsgi takes SIGINT to one of its daemon processes as the wish that it be
    replaced.
    """

    title = "mod_wsgi-reload-monitor"
    interval = 1.0

    def __init__(self, extra):
        super().__init__(name=self.title, daemon=True)
        self.extra = set(extra)
        self.seen = {}
        self.stopping = threading.Event()

    def say(self, text):
        print("monitor (pid=%d): %s" % (os.getpid(), text), file=sys.stderr, flush=True)

    def files(self):
        found = set(self.extra)
        for module in list(sys.modules.values()):
            try:
                path = getattr(module, "__file__", None)
            except Exception:  # modules that make up their attributes
                continue
            if isinstance(path, str) and os.path.isabs(path):
                if path.endswith((".pyc", ".pyo")):
                    path = path[:-1]
                found.add(path)
        return found

    def changed(self):
        """Return a file that differs from what it was when first seen, or None."""
        for path in self.files():
            now = _mtime(path)
            if path not in self.seen:
                if now is not None:
                    self.seen[path] = now
            elif self.seen[path] != now:
                return path
        return None

    def run(self):
        self.say("Starting change monitor.")
        while not self.stopping.wait(self.interval):
            path = self.changed()
            if path is not None:
                import signal

                self.say("Change detected to '%s'." % path)
                self.say("Triggering process restart.")
                os.kill(os.getpid(), signal.SIGINT)
                return


def _program(pid):
    """Return the name of a process's program (proc(5))."""
    with open("/proc/%s/stat" % pid, "rb") as stream:
        return stream.read().partition(b"(")[2].rpartition(b")")[0]


def _end_with_parent(debug):
    """Have Linux end this process when its parent is killed (prctl(2)).

    In debug mode this process is httpd as a whole and its parent the launcher,
    whose own wish for that was forgotten when httpd changed its user. Otherwise
    the parent is httpd's first process, without which nobody could stop or
    replace this one.
    """
    try:
        import ctypes
        import signal

        wish = signal.SIGKILL if debug else signal.SIGTERM
        ctypes.CDLL(None).prctl(1, int(wish), 0, 0, 0)  # PR_SET_PDEATHSIG
        if not debug and sys.argv == ["mod_wsgi"] and _program("self") != _program(os.getppid()):
            os.kill(os.getpid(), wish)  # it was killed before we wished for that
    except Exception:  # a convenience only, and not on every system
        pass


_settings = _read_settings()
os.environ.update(_settings["environ"])
if sys.platform == "linux":
    _end_with_parent(_settings["environ"].get("MOD_WSGI_DEBUG_MODE"))

# The module loads this file again at each request while the application does
# not load; there is one monitor all the same.
if _settings["monitor"] and not any(t.name == _Monitor.title for t in threading.enumerate()):
    # Before the application is loaded, so that one which does not load is
    # reloaded as well when it is mended.
    _monitor = _Monitor([_settings["entry_point"]] if os.path.isabs(_settings["entry_point"]) else [])
    _monitor.changed()
    _monitor.start()



def _report(text):
    """Tell the launcher, where it waits to be told (--wait-ready)."""
    try:
        os.write(int(os.environ["MOD_WSGI_READY_FD"]), text.encode("utf-8", "backslashreplace")[:500] + b"\n")
    except (KeyError, ValueError, OSError):
        pass


try:
    _handler = _Handler(_settings)
except BaseException as error:
    _report("failed %s: %s" % (type(error).__name__, " ".join(str(error).split())))
    raise
_report("ready %d" % os.getpid())
handle_request = _handler.handle_request
reload_required = _handler.reload_required
