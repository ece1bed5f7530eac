"""modwsgi puts Python web applications on Apache httpd.

The work is done by the program of the same name, which comes with this package;
the package itself is the build backend modwsgi.build, and a way to find that
program.
"""

import os
import shutil
import sys

__all__ = ["find_program"]


def find_program():
    """Return the path of the program modwsgi that was installed with this package.

    Raises FileNotFoundError where there is none.
    """
    name = "modwsgi.exe" if os.name == "nt" else "modwsgi"
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    tried = []
    for path in _recorded(here, name):
        tried.append(path)
        if os.path.isfile(path):
            return path
    # pip install --target moves things after it has recorded them.
    for directory in ("bin", "Scripts"):
        path = os.path.join(here, directory, name)
        tried.append(path)
        if os.path.isfile(path):
            return path
    found = shutil.which("modwsgi")
    if found:
        return found
    raise FileNotFoundError("the program modwsgi is not where it was installed (%s)" % ", ".join(tried))


def _recorded(site, name):
    """The places of the program by the installed distribution's own record."""
    from importlib import metadata

    for distribution in metadata.distributions(name="modwsgi", path=[site]):
        for file in distribution.files or ():
            if file.name == name and file.parent.name in ("bin", "Scripts"):
                yield os.path.normpath(str(distribution.locate_file(file)))


def _main():
    """What python -m modwsgi does: the program takes the place of Python."""
    try:
        program = find_program()
    except FileNotFoundError as error:
        sys.exit("modwsgi: error: %s" % error)
    argv = [program] + sys.argv[1:]
    if os.name == "nt":  # there exec returns to the shell at once
        import subprocess

        sys.exit(subprocess.call(argv))
    os.execv(program, argv)
