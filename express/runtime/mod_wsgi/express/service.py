"""What runs the script of a service (--service-script).

mod_wsgi imports this file into the process of a service, and replaces the process
whenever that ends, at once and without a word.  Here the script runs as people
write services, as __main__; that it has ended is said in its log, with how often;
and it is started again after pauses that grow while it ends soon each time.  The
launcher's variables tell which script it is.  What has to be remembered for the
next process is in the server root, which a service with a user of its own may not
see: such a one is started again in equal pauses.
"""

import builtins
import json
import os
import signal
import sys
import time
import types

import mod_wsgi

_SOON = 60.0  # seconds; a service that ran for longer starts afresh
_LONGEST = 60.0
_UNKNOWN = 5.0


class _Ends:
    """How often the service has ended in a row, from one process to the next."""

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
        if last.get("server") != self.server:  # of an httpd that is gone
            return
        self.count = last["count"]
        if last["running"]:
            self.ended("its process was killed, crashed or left by os._exit", last["began"])

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
        """Wait for as long as the last ends demand."""
        time.sleep(self.pause())
        self.began = time.time()
        self.keep(True)

    def ended(self, how, began):
        ran = max(0.0, time.time() - began)
        self.count = self.count + 1 if ran < _SOON else 1
        self.keep(False)
        if self.kept:
            self.say("the script has ended after %.1f s: %s; that was %s; it is started again in %d s"
                     % (ran, how, "the first time" if self.count == 1 else "end number %d in a row" % self.count, self.pause()))
        else:
            self.say("the script has ended after %.1f s: %s; it is started again in %d s" % (ran, how, _UNKNOWN))

    def forget(self):
        try:
            os.remove(self.file)
        except OSError:
            pass


def _notice_stop(stopping):
    """Have a stop of the server noted, whoever handles it."""
    set_handler = signal.signal

    def register(number, handler):
        if number != signal.SIGTERM or not callable(handler):
            return set_handler(number, handler)

        def noted(number, frame):
            stopping.append(number)
            return handler(number, frame)

        return set_handler(number, noted)

    register(signal.SIGTERM, signal.getsignal(signal.SIGTERM))  # mod_wsgi's, which ends the script
    signal.signal = register


def _end_with_httpd():
    """Have Linux end this process when httpd's first process is killed (prctl(2)).

    Nobody could stop or replace it any more.
    """
    try:
        import ctypes

        ctypes.CDLL(None).prctl(1, int(signal.SIGTERM), 0, 0, 0)  # PR_SET_PDEATHSIG
    except Exception:  # a convenience only, and not on every Python
        pass


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
    how = "it has come to its end"
    try:
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
