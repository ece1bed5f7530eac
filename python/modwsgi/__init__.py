"""modwsgi puts Python web applications on Apache httpd.

The work is done by the program of the same name, which is installed with this
package.  The package itself contains the build backend modwsgi.build and a function
that finds the program.
"""

import os
import shutil
import sys

__all__ = ["find_program"]


def find_program():
    """Return the path of the program modwsgi that was installed with this package.

    Raises FileNotFoundError if it is missing.
    """
    name = "modwsgi.exe" if os.name == "nt" else "modwsgi"
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    tried = []
    for path in _recorded(here, name):
        tried.append(path)
        if os.path.isfile(path):
            return path
    # pip install --target moves files after recording their paths.
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
    """Yield the paths of the program from the RECORD of the installed distribution."""
    from importlib import metadata

    for distribution in metadata.distributions(name="modwsgi", path=[site]):
        for file in distribution.files or ():
            if file.name == name and file.parent.name in ("bin", "Scripts"):
                yield os.path.normpath(str(distribution.locate_file(file)))


def _main():
    """Implement python -m modwsgi: replace Python by the program."""
    try:
        program = find_program()
    except FileNotFoundError as error:
        sys.exit("modwsgi: error: %s" % error)
    argv = [program] + sys.argv[1:]
    if os.name == "nt":  # where exec returns to the shell immediately
        import subprocess

        sys.exit(subprocess.call(argv))
    os.execv(program, argv)
