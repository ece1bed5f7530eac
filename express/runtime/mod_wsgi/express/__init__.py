"""Find and start the mod_wsgi-express program of this environment."""

import os
import sys

__all__ = ["launcher", "main", "start"]


def launcher():
    """Return the path of the launcher that belongs to this interpreter.

    Raises FileNotFoundError if the environment has none.
    """
    import sysconfig

    name = "mod_wsgi-express" + (".exe" if os.name == "nt" else "")
    tried = []
    for directory in (
        os.path.dirname(sys.executable or ""),
        sysconfig.get_path("scripts"),
        os.path.join(sys.prefix, "Scripts" if os.name == "nt" else "bin"),
    ):
        path = os.path.join(directory, name)
        if directory and path not in tried:
            tried.append(path)
            if os.path.isfile(path):
                return path
    raise FileNotFoundError("%s is not in %s" % (name, " or ".join(tried)))


def main(argv=None):
    """Replace this process by the launcher, by default with the same arguments."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    path = launcher()
    if os.name == "nt":  # where exec would return to the shell immediately
        import subprocess

        raise SystemExit(subprocess.call([path] + arguments))
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(path, [path] + arguments)


def start(*arguments):
    """Replace this process by the launcher's start-server with these arguments."""
    main(["start-server"] + list(arguments))
