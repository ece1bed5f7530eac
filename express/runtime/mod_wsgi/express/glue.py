"""Connects the mod_wsgi module to the application.

The launcher copies this file to the server root as handler.wsgi and writes
settings.json next to it.  The module loads this file when a process starts.  For
each request, it calls reload_required to decide whether to replace the process,
and then handle_request.  No code is generated from options: the settings are data.
"""

import functools
import json
import os
import sys
import threading
import time
import types
from importlib import machinery, util


def _read_settings():
    name = os.path.join(os.path.dirname(os.path.abspath(__file__)), "settings.json")
    with open(name, encoding="utf-8", errors="surrogateescape") as stream:
        return json.load(stream)


_RECENT = 3.0  # seconds; the coarsest file system timestamps have a resolution of two
_DAY = 86400.0


def _state(path):
    """Return a value that changes when a file is written or replaced, or None."""
    try:
        return _state_of(os.stat(path))
    except OSError:
        return None


def _state_of(status):
    # A file that was moved here may have an old mtime, but its ctime is new.
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size


def _recent(seconds):
    return abs(time.time() - seconds) < _RECENT


class _Loads:
    """Records the state of files when they were loaded.

    Later checks compare files with that state, not with the state at the first check,
    so that a file saved between loading and the first check counts as changed.  To this
    end, Python's module loaders report files to this class before reading them.  Two
    more situations could hide a change:

    - A file is saved again within the resolution of the file system's timestamps,
      with the same size.  So for files that had been saved just before they were
      loaded, the text is compared as well, for a while.
    - Python mistakes byte code of the first of two such texts for that of the
      second, because it compares seconds and sizes.  So byte code that is not newer
      than its source is not used.
    """

    def __init__(self):
        self.states = {}
        self.texts = {}  # of files that had just been saved; None until they are read
        self.replaced = []

    def about_to_read(self, path, status, again=False):
        """Record the state of a file; return whether its text is needed as well."""
        if again:
            self.forget(path)
        self.states.setdefault(path, _state_of(status))
        if not _recent(status.st_mtime):
            return False
        self.texts.setdefault(path, None)
        return True

    def forget(self, path):
        self.states.pop(path, None)
        self.texts.pop(path, None)

    def read(self, path, data):
        if self.texts.get(path, data) is None:
            self.texts[path] = hash(data)

    def is_new(self, path):
        """Report whether a file differs from the loaded one.  The state of an
        unknown file is recorded."""
        now = _state(path)
        if path not in self.states:
            if now is not None:
                self.states[path] = now
            return False
        return self.states[path] != now or self._other_text(path)

    def _other_text(self, path):
        text = self.texts.get(path)
        if text is None:
            return False
        if not _recent(self.states[path][0] / 1e9):
            del self.texts[path]  # from now on timestamps suffice
        try:
            with open(path, "rb") as stream:
                return hash(stream.read()) != text
        except OSError:
            return True

    def watch_loaders(self):
        """Make the loaders report the files that they read."""
        loads = self
        read = machinery.SourceFileLoader.get_data
        code = machinery.SourcelessFileLoader.get_code
        create = machinery.ExtensionFileLoader.create_module

        def path_stats(loader, path):
            status = os.stat(path)
            size = status.st_size
            if loads.about_to_read(path, status) or not _is_older(path, status):
                size = -1  # matches no byte code
            return {"mtime": status.st_mtime, "size": size}

        def get_data(loader, path):
            data = read(loader, path)
            loads.read(path, data)
            return data

        def get_code(loader, name):
            loads.keep(getattr(loader, "path", None))
            return code(loader, name)

        def create_module(loader, spec):
            loads.keep(spec.origin)
            return create(loader, spec)

        self._replace(machinery.SourceFileLoader, path_stats, get_data)
        self._replace(machinery.SourcelessFileLoader, get_code)
        self._replace(machinery.ExtensionFileLoader, create_module)

    def _replace(self, loader, *methods):
        for method in methods:
            self.replaced.append((loader, method.__name__, loader.__dict__.get(method.__name__)))
            setattr(loader, method.__name__, method)

    def leave_loaders(self):
        """Undo watch_loaders."""
        while self.replaced:
            loader, name, method = self.replaced.pop()
            if method is None:
                delattr(loader, name)
            else:
                setattr(loader, name, method)

    def keep(self, path, again=False):
        try:
            self.about_to_read(path, os.stat(path), again)
        except (OSError, TypeError):  # not a file
            pass

    def source(self, path):
        """Read a script."""
        with open(path, "rb") as stream:
            self.about_to_read(path, os.fstat(stream.fileno()), True)
            data = stream.read()
        self.read(path, data)
        return data


def _is_older(path, status):
    """Report whether a source is older than its byte code, or so old that this does
    not matter.  In images, all files may have the same time."""
    if time.time() - status.st_mtime > _DAY:
        return True
    try:
        return os.stat(util.cache_from_source(path)).st_mtime_ns > status.st_mtime_ns
    except (OSError, NotImplementedError):
        return True  # no compiled file


# One per process, because this file is reloaded together with the application.
_loads = sys.__dict__.setdefault("_mod_wsgi_loads", _Loads())


_WELCOME = (
    b"<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>mod_wsgi</title></head>\n"
    b"<body><h1>It runs</h1><p>This is mod_wsgi on Apache httpd, and no application was given. To serve one:</p>\n"
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
    source = _loads.source(path)
    module = types.ModuleType("__wsgi__")
    module.__file__ = path
    sys.modules["__wsgi__"] = module
    code = compile(source, path, "exec", dont_inherit=True)
    exec(code, module.__dict__)
    return module


def _load_paste(path):
    from paste.deploy import loadapp

    _loads.keep(path, again=True)
    return loadapp("config:" + path)


def _load(settings):
    """Return the application and the file that it came from, if any."""
    kind, entry = settings["application_type"], settings["entry_point"]
    if kind == "static":
        return _nothing, None
    if not entry:
        return _welcome, None
    if kind == "paste":
        return _load_paste(entry), entry
    if kind == "module":
        import importlib

        loaded = sys.modules.get(entry)
        module = importlib.import_module(entry)
        if loaded is not None and not settings["monitor"]:
            _loads.forget(getattr(module, "__file__", None))  # this process keeps the loaded version
    else:
        module = _load_script(entry)
    application = _callable(module, entry, settings["callable_object"])
    return application, getattr(module, "__file__", None)


def _callable(module, entry, name):
    """Return an object of a module, or the result of a call such as create_app("test")."""
    function, call, _ = name.partition("(")
    try:
        found = getattr(module, function if call else name)
    except AttributeError:
        raise AttributeError("the application %s has no %r" % (entry, function if call else name)) from None
    if not call:
        return found
    import ast

    try:
        node = ast.parse(name, mode="eval").body
        if not isinstance(node.func, ast.Name) or any(argument.arg is None for argument in node.keywords):
            raise ValueError
        positional = [ast.literal_eval(argument) for argument in node.args]
        named = {argument.arg: ast.literal_eval(argument.value) for argument in node.keywords}
    except (SyntaxError, ValueError, AttributeError):
        raise ValueError("%r is not a function with constant arguments" % name) from None
    return found(*positional, **named)


def _split(path, mount):
    """Divide a URL path into SCRIPT_NAME and PATH_INFO."""
    if mount == "/":
        return "", path
    if path == mount or path.startswith(mount + "/"):
        return mount, path[len(mount):]
    return "", path


def _load_with_tools(settings):
    """Load the application, wrapped in the debugging tools."""
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
        # Without a monitor, only the application's own file matters.
        briefly = settings["application_type"] == "module" and not settings["monitor"]
        if briefly:
            _loads.watch_loaders()
        try:
            self.application, self.target = _load_with_tools(settings)
        finally:
            if briefly:
                _loads.leave_loaders()
        if self.target:
            _loads.is_new(self.target)  # records files that no loader has reported
        self.reloading = settings["reloading"] and self.target is not None

    def reload_required(self, resource):
        if self.reloading and _loads.is_new(self.target):
            sys.__dict__["_mod_wsgi_changed"] = True
            return True
        return False

    def handle_request(self, environ, start_response):
        # httpd has found the first part of the path below the document root, and
        # treats only that as the script name.  To the application, both parts are path.
        if environ.get("mod_wsgi.mount_point") is not None and "mod_wsgi.script_name" in environ:
            # A trusted proxy has set the mount point.
            path = environ["mod_wsgi.script_name"] + environ.get("PATH_INFO", "")
            environ["PATH_INFO"] = _split(path, self.mount)[1]
        else:
            path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
            environ["SCRIPT_NAME"], environ["PATH_INFO"] = _split(path, self.mount)
        return self.application(environ, start_response)


class _Monitor(threading.Thread):
    """Ends the process when the file of a loaded module changes.

    mod_wsgi replaces a daemon process that receives SIGINT.
    """

    title = "mod_wsgi-reload-monitor"
    interval = 1.0

    def __init__(self, extra):
        super().__init__(name=self.title, daemon=True)
        self.extra = set(extra)
        self.stopping = threading.Event()

    def say(self, text):
        print("monitor (pid=%d): %s" % (os.getpid(), text), file=sys.stderr, flush=True)

    def files(self):
        found = set(self.extra)
        for module in list(sys.modules.values()):
            try:
                path = getattr(module, "__file__", None)
            except Exception:  # modules with computed attributes
                continue
            if isinstance(path, str) and os.path.isabs(path):
                found.add(path)
        if "_mod_wsgi_failed" in sys.__dict__:
            found.update(_loads.states)  # a module that did not load is not in sys.modules
        return found

    def changed(self):
        """Return a file that differs from the loaded one, or None."""
        for path in self.files():
            if _loads.is_new(path):
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
                sys.__dict__["_mod_wsgi_changed"] = True
                os.kill(os.getpid(), signal.SIGINT)
                return


def _program(pid):
    """Return the name of a process's program (proc(5))."""
    with open("/proc/%s/stat" % pid, "rb") as stream:
        return stream.read().partition(b"(")[2].rpartition(b")")[0]


def _end_with_parent(debug):
    """Make Linux end this process when its parent is killed (prctl(2)).

    In debug mode, this process is the whole httpd, and its parent is the launcher.
    The launcher makes the same request, but the kernel drops it when httpd changes
    its user.  Otherwise, the parent is httpd's first process, without which nothing
    could stop or replace this one.
    """
    try:
        import ctypes
        import signal

        number = signal.SIGKILL if debug else signal.SIGTERM
        ctypes.CDLL(None).prctl(1, int(number), 0, 0, 0)  # PR_SET_PDEATHSIG
        if not debug and sys.argv == ["mod_wsgi"] and _program("self") != _program(os.getppid()):
            os.kill(os.getpid(), number)  # the parent was killed before prctl
    except Exception:  # only a convenience, which not every system supports
        pass


_settings = _read_settings()
os.environ.update(_settings["environ"])
if sys.platform == "linux":
    _end_with_parent(_settings["environ"].get("MOD_WSGI_DEBUG_MODE"))

# While the application fails to load, the module loads this file again at each
# request, but one monitor is enough.
if _settings["monitor"] and not any(t.name == _Monitor.title for t in threading.enumerate()):
    # Start before the application is loaded, so that an application that fails to load
    # is reloaded once it is fixed.
    _monitor = _Monitor([_settings["entry_point"]] if os.path.isabs(_settings["entry_point"]) else [])
    _monitor.changed()
    _loads.watch_loaders()
    _monitor.start()


def _report(kind, text=""):
    """Report what becomes of this process to the launcher, in one line."""
    line = "%s %d %s" % (kind, os.getpid(), " ".join(text.split()))
    try:
        os.write(int(os.environ["MOD_WSGI_READY_FD"]), line.encode("utf-8", "backslashreplace")[:500] + b"\n")
    except (KeyError, ValueError, OSError):
        pass


def _report_end(name, shutdown_reason="", **event):
    """Report why this process ends.  mod_wsgi 5 does not know each reason."""
    if not shutdown_reason and "_mod_wsgi_changed" in sys.__dict__:
        shutdown_reason = "script_reload"
    limit = _settings.get("maximum_requests")
    if not shutdown_reason and limit and mod_wsgi.process_metrics()["request_count"] >= limit:
        shutdown_reason = "maximum_requests"
    _report("stopping", shutdown_reason or "shutdown_signal")


try:
    _handler = _Handler(_settings)
except BaseException as error:
    sys.__dict__["_mod_wsgi_failed"] = True
    _report("failed", "%s: %s" % (type(error).__name__, error))
    raise
sys.__dict__.pop("_mod_wsgi_failed", None)
_report("ready")
if "MOD_WSGI_READY_FD" in os.environ and "_mod_wsgi_end" not in sys.__dict__:
    import mod_wsgi

    sys.__dict__["_mod_wsgi_end"] = True  # this file may be loaded again
    if hasattr(mod_wsgi, "subscribe_shutdown"):
        mod_wsgi.subscribe_shutdown(_report_end)
handle_request = _handler.handle_request
reload_required = _handler.reload_required
