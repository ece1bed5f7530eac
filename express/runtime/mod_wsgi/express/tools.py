"""Debugging tools that wrap an application.

Each class wraps a WSGI application and is a WSGI application itself.  They run only
in debug mode, where a single process runs httpd and the application.
"""

import io
import itertools
import os
import sys
import threading
import time

__all__ = ["Coverage", "Debugger", "Profiler", "Recorder", "at_end"]


def at_end(function):
    """Call a function once when the process ends, as early as possible.

    mod_wsgi announces that it is about to stop.  atexit covers the cases in which it
    does not.
    """
    import atexit

    once = threading.Lock()

    def end(*args, **kwargs):
        if once.acquire(False):
            function()

    try:
        import mod_wsgi

        mod_wsgi.subscribe_shutdown(end)
    except (ImportError, AttributeError):  # outside httpd, or before mod_wsgi 4.8
        pass
    atexit.register(end)


class _Response:
    """The result of an application, which runs each step inside a function."""

    def __init__(self, around, result):
        self._around, self._result = around, result
        self._iterator = None

    def __iter__(self):
        return self

    def __next__(self):
        return self._around(self._step)

    def _step(self):
        if self._iterator is None:
            self._iterator = iter(self._result)
        return next(self._iterator)

    def close(self):
        close = getattr(self._result, "close", None)
        if close is not None:
            self._around(close)


class _Around:
    """An application that runs each step inside self.around."""

    def __init__(self, application):
        self.application = application

    def __call__(self, environ, start_response):
        result = self.around(lambda: self.application(environ, start_response))
        return _Response(self.around, result)


class Debugger(_Around):
    """Post-mortem pdb on the terminal for exceptions of the application."""

    def __init__(self, application, startup):
        super().__init__(application)
        import pdb

        # The module replaces sys.stdout with a log, but the terminal is still open.
        self.pdb = pdb.Pdb(
            stdin=io.open(0, "r", closefd=False), stdout=io.open(1, "w", closefd=False), nosigint=True
        )
        self.one = threading.Lock()
        if startup:
            self.pdb.message("The application is loaded: set breakpoints, then continue.")
            self.pdb.set_trace(sys._getframe())

    def around(self, function):
        from bdb import BdbQuit

        try:
            return self.traced(function)
        except (StopIteration, BdbQuit):
            raise
        except Exception as error:
            with self.one:
                self.pdb.reset()
                self.pdb.message("%s: %s" % (type(error).__name__, error))
                self.pdb.interaction(None, sys.exc_info()[2])
            raise

    def traced(self, function):
        """Call a function so that breakpoints, if any, take effect.

        Python did not create the threads of requests, so each must be traced explicitly.
        """
        if not self.pdb.breaks:
            return function()
        with self.one:
            self.pdb.reset()
            self.pdb.botframe = sys._getframe()
            self.pdb.set_continue()
            sys.settrace(self.pdb.trace_dispatch)
            try:
                return function()
            finally:
                sys.settrace(None)


class Profiler(_Around):
    """One profile of loading and of all requests, written when the process ends."""

    def __init__(self, directory):
        super().__init__(None)
        self.directory = directory
        self.profiles = []
        self.lock = threading.Lock()
        self.local = threading.local()
        at_end(self.dump)

    def around(self, function):
        import cProfile

        profile = getattr(self.local, "profile", None)
        if profile is None:
            profile = self.local.profile = cProfile.Profile()
            with self.lock:
                self.profiles.append(profile)
        try:
            profile.enable()
        except ValueError:  # another thread is profiling; since 3.12 only one can
            return function()
        try:
            return function()
        finally:
            profile.disable()

    def dump(self):
        import pstats

        with self.lock:
            profiles = [p for p in self.profiles if p.getstats()]
        if not profiles:
            return
        name = "%d-%d.pstats" % (time.time() * 1e6, os.getpid())
        stats = pstats.Stats(profiles[0])
        for profile in profiles[1:]:
            stats.add(profile)
        stats.dump_stats(os.path.join(self.directory, name))


class Coverage(_Around):
    """A coverage report in HTML, written when the process ends."""

    def __init__(self, directory):
        super().__init__(None)
        try:
            import coverage
        except ImportError:
            raise ImportError("--enable-coverage needs the package coverage; install it into this environment") from None
        self.directory = directory
        # The data stays in memory, because the working directory may not be writable.
        self.coverage = coverage.Coverage(data_file=None)
        self.coverage.start()
        at_end(self.report)

    def around(self, function):
        # Python starts the tracer in the threads that it creates. Threads of
        # requests are created by httpd.
        if sys.gettrace() is None:
            hook = getattr(threading, "_trace_hook", None)
            if hook is not None:
                sys.settrace(hook)
        return function()

    def report(self):
        self.coverage.stop()
        try:
            self.coverage.html_report(directory=self.directory)
        except Exception as error:  # nothing ran, or a source no longer exists
            print("coverage: no report: %s" % error, file=sys.stderr)


class Recorder:
    """Writes seven files per request, named by time, process and content."""

    suffixes = ("iheaders", "icontent", "oheaders", "ocontent", "oaexcept", "orexcept", "ofexcept")

    def __init__(self, application, directory):
        self.application, self.directory = application, directory
        self.count = itertools.count(1)

    def __call__(self, environ, start_response):
        return _Recording(self, environ, start_response)


class _Recording:
    """One request.  The application runs when the first part of the response is read."""

    def __init__(self, recorder, environ, start_response):
        name = "%d-%d-%d" % (time.time() * 1e6, os.getpid(), next(recorder.count))
        base = os.path.join(recorder.directory, name)
        self.files = {}
        try:
            for suffix in recorder.suffixes:
                self.files[suffix] = open(base + "." + suffix, "wb")
        except OSError:
            self.end()
            raise
        self.application, self.environ, self.start_response = recorder.application, environ, start_response
        self.result = self.iterator = None

    def text(self, suffix, value):
        import pprint

        self.files[suffix].write(pprint.pformat(value).encode("utf-8", "backslashreplace") + b"\n")

    def failed(self, suffix):
        import traceback

        self.files[suffix].write(traceback.format_exc().encode("utf-8", "backslashreplace"))

    def start(self, status, headers, *exc_info):
        self.text("oheaders", (status, headers) + exc_info)
        write = self.start_response(status, headers, *exc_info)

        def recorded(data):
            self.files["ocontent"].write(data)
            write(data)

        return recorded

    def __iter__(self):
        return self

    def __next__(self):
        if self.iterator is None:
            self.begin()
        try:
            data = next(self.iterator)
        except StopIteration:
            raise
        except BaseException:
            self.failed("orexcept")
            raise
        self.files["ocontent"].write(data)
        return data

    def begin(self):
        self.text("iheaders", self.environ)
        body = self.environ["wsgi.input"].read()
        self.files["icontent"].write(body)
        self.environ["wsgi.input"] = io.BytesIO(body)
        for suffix in ("iheaders", "icontent"):
            self.files[suffix].flush()
        try:
            self.result = self.application(self.environ, self.start)
        except BaseException:
            self.failed("oaexcept")
            raise
        try:
            self.iterator = iter(self.result)
        except BaseException:
            self.failed("orexcept")
            raise

    def close(self):
        close = getattr(self.result, "close", None)
        try:
            if close is not None:
                close()
        except BaseException:
            self.failed("ofexcept")
            raise
        finally:
            self.end()

    def end(self):
        for stream in self.files.values():
            stream.close()
