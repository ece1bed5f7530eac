"""Runs the script of a service (--service-script).

mod_wsgi imports this file into the process of a service.  Whenever the process
ends, mod_wsgi replaces it immediately and silently.  This file runs the script as
__main__, as services expect, and logs when it ends and how often in a row.  While
it keeps ending soon after the start, the delay before each restart grows.  The
launcher passes the path of the script in a variable.  The state for the next
process is in the server root.  A service with a separate user may be unable to
access it, so its delays are constant.
"""

import builtins
import json
import os
import signal
import sys
import time
import types

import mod_wsgi

_SOON = 60.0  # seconds; after a longer run, the count starts over
_LONGEST = 60.0
_UNKNOWN = 5.0


class _Ends:
    """Counts how often the service has ended in a row, across processes."""

    def __init__(self, name):
        self.name = name
        self.file = os.path.join(os.environ.get("MOD_WSGI_SERVER_ROOT", ""), "services", name + ".json")
        self.server = os.getppid()
        self.count, self.began = 0, time.time()
        self.kept = True
        try:
            with open(self.file, encoding="ascii") as stream:
                last = json.load(stream)
        except (OSError, ValueError):
            return
        if last.get("server") != self.server:  # of an httpd that has ended
            return
        self.count = last["count"]
        if last["running"]:
            self.ended("its process was killed, crashed or called os._exit", last["began"])

    def say(self, text):
        print("service %s (pid=%d): %s" % (self.name, os.getpid(), text), file=sys.stderr, flush=True)

    def keep(self, running):
        try:
            with open(self.file + ".new", "w", encoding="ascii") as stream:
                json.dump({"server": self.server, "count": self.count, "began": self.began, "running": running}, stream)
            os.replace(self.file + ".new", self.file)
        except OSError:
            self.kept = False

    def pause(self):
        return min(_LONGEST, 2.0 ** (self.count - 1)) if self.count else 0.0

    def start(self):
        """Wait before the next run, depending on how the last runs ended."""
        time.sleep(self.pause())
        self.began = time.time()
        self.keep(True)

    def ended(self, how, began):
        ran = max(0.0, time.time() - began)
        self.count = self.count + 1 if ran < _SOON else 1
        self.keep(False)
        if self.kept:
            self.say("the script ended after %.1f s: %s; end %d in a row; restarting in %d s" % (ran, how, self.count, self.pause()))
        else:
            self.say("the script ended after %.1f s: %s; restarting in %d s" % (ran, how, _UNKNOWN))

    def forget(self):
        try:
            os.remove(self.file)
        except OSError:
            pass


def _notice_stop(stopping):
    """Record that the server is stopping, even if the script handles SIGTERM."""
    set_handler = signal.signal

    def register(number, handler):
        if number != signal.SIGTERM or not callable(handler):
            return set_handler(number, handler)

        def noted(number, frame):
            stopping.append(number)
            return handler(number, frame)

        return set_handler(number, noted)

    register(signal.SIGTERM, signal.getsignal(signal.SIGTERM))  # mod_wsgi's handler, which ends the script
    signal.signal = register


def _end_with_httpd():
    """Make Linux end this process when httpd's first process is killed (prctl(2)).

    Otherwise, nothing could stop or replace it.
    """
    try:
        import ctypes

        ctypes.CDLL(None).prctl(1, int(signal.SIGTERM), 0, 0, 0)  # PR_SET_PDEATHSIG
    except Exception:  # only a convenience, which not every Python supports
        pass


def _await_predecessor():
    """Wait until the httpd that this one has replaced has ended, with its services.

    While requests end there, both run, but a service must run only once.
    """
    pid, _, started = os.environ.get("MOD_WSGI_PREDECESSOR", "").partition(" ")
    last = time.time() + _LONGEST
    while pid and time.time() < last:
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            return
        except OSError:
            pass  # it belongs to another user
        try:
            with open("/proc/%s/stat" % pid, encoding="ascii", errors="replace") as stream:
                if stream.read().rpartition(")")[2].split()[19] != started:
                    return  # another process has its number now
        except (OSError, IndexError):
            pass
        time.sleep(0.1)


def _execute(path):
    with open(path, "rb") as stream:
        source = stream.read()
    module = types.ModuleType("__main__")
    module.__file__, module.__builtins__ = path, builtins
    sys.modules["__main__"] = module
    sys.argv = [path]
    exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)


def _run():
    name = mod_wsgi.process_group.partition(":")[2]
    path = os.environ["MOD_WSGI_SERVICE_" + name]
    stopping = []
    _notice_stop(stopping)
    if sys.platform == "linux":
        _end_with_httpd()
    ends = _Ends(name)
    how = "it finished"
    try:
        _await_predecessor()
        ends.start()
        _execute(path)
    except SystemExit as error:
        how = "exit %s" % (0 if error.code is None else error.code)
    except BaseException as error:
        how = "%s: %s" % (type(error).__name__, " ".join(str(error).split()))
        raise
    finally:
        if stopping:
            ends.forget()
        else:
            ends.ended(how, ends.began)
            if not ends.kept:
                time.sleep(_UNKNOWN)


_run()
