"""Build backend for source distributions of mod_wsgi (PEP 517, PEP 660).

It builds what "modwsgi package sdist" has made, with the program modwsgi:
mod_wsgi for the Python that runs this, for the system's Apache httpd or with one
of its own. It builds no other project.

Settings (pip install --config-settings NAME=VALUE, or the environment variable
MODWSGI_NAME; names may be written with "-" or "_"):

  httpd          auto (the default), bundled, system, or a path
  httpd-version  version or constraint of a bundled httpd
  with, without  features that a bundled httpd must or must not have
  source-dir     directory with source archives, asked first
  mirror         base address with source archives
  offline        1: never use the network
  allow-vulnerable  1: build what a known advisory warns of
  jobs           compilers at a time
  cache-dir      where downloads and builds are kept
  cache, cache-trust, cache-sign-key, cache-max-age, cache-not-before
                 a shared build cache, as for modwsgi install
"""

import gzip
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile

from modwsgi import find_program

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

_VALUES = ("httpd", "httpd-version", "with", "without", "source-dir", "mirror", "jobs", "cache-dir")
# The variables of these reach the program by themselves.
_SHARED = ("cache", "cache-trust", "cache-sign-key", "cache-max-age", "cache-not-before")
_SWITCHES = ("offline", "allow-vulnerable")
_YES = ("1", "true", "yes", "on")
_NO = ("0", "false", "no", "off", "")
# pip's own; it hands over everything that it was given for any project.
_OF_OTHERS = ("--global-option", "--build-option")


def get_requires_for_build_wheel(config_settings=None):
    return []


def get_requires_for_build_sdist(config_settings=None):
    return []


def get_requires_for_build_editable(config_settings=None):
    return []


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    """What a wheel will say of itself, without building it."""
    _arguments(config_settings)  # a wrong setting is told before anything is built
    text, fields = _pkg_info()
    name = "%s-%s.dist-info" % (fields["name"].replace("-", "_"), fields["version"])
    directory = os.path.join(metadata_directory, name)
    os.makedirs(directory)
    with open(os.path.join(directory, "METADATA"), "wb") as out:
        out.write(text)
    return name


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    """Build the wheel with modwsgi and return its name."""
    arguments = _arguments(config_settings)
    _pkg_info()
    program = _program()
    wheel_directory = os.path.abspath(wheel_directory)
    os.makedirs(wheel_directory, exist_ok=True)
    # A directory of its own: what is in it afterwards is the wheel.
    out = tempfile.mkdtemp(prefix=".modwsgi-", dir=wheel_directory)
    try:
        command = [program, "package", "local-wheel", "--progress", "plain", "--python", sys.executable, "--sdist", os.getcwd(), "--out", out]
        _run(command + arguments)
        names = [name for name in os.listdir(out) if name.endswith(".whl")]
        if len(names) != 1:
            _fail("modwsgi made %d wheels, not one" % len(names))
        os.replace(os.path.join(out, names[0]), os.path.join(wheel_directory, names[0]))
        return names[0]
    finally:
        shutil.rmtree(out, ignore_errors=True)


def prepare_metadata_for_build_editable(metadata_directory, config_settings=None):
    return prepare_metadata_for_build_wheel(metadata_directory, config_settings)


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    """The same wheel: there is no Python source in the tree that could be edited."""
    return build_wheel(wheel_directory, config_settings, metadata_directory)


def build_sdist(sdist_directory, config_settings=None):
    """Pack the tree again, the same bytes for the same content."""
    _, fields = _pkg_info()
    base = "%s-%s" % (fields["name"].replace("-", "_"), fields["version"])
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or 315532800)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in _tree():
            info = tarfile.TarInfo(base + "/" + name)
            info.size = os.path.getsize(name)
            info.mtime = epoch
            info.mode = 0o644
            with open(name, "rb") as source:
                tar.addfile(info, source)
    target = os.path.join(sdist_directory, base + ".tar.gz")
    with open(target + ".part", "wb") as raw:
        with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as out:
            out.write(packed.getvalue())
    os.replace(target + ".part", target)
    return base + ".tar.gz"


def _tree():
    """The files of a source distribution, and none that somebody left beside."""
    names = [name for name in ("LICENSE", "PKG-INFO", "README.txt", "modwsgi.lock", "pyproject.toml") if os.path.isfile(name)]
    if os.path.isdir("sources"):
        names += ["sources/" + name for name in os.listdir("sources") if os.path.isfile(os.path.join("sources", name))]
    return sorted(names)


def _pkg_info():
    """PKG-INFO of the tree that we are in, and its name and version."""
    try:
        with open("PKG-INFO", "rb") as file:
            text = file.read()
    except OSError:
        text = b""
    fields = {}
    for line in text.decode("utf-8", "replace").splitlines():
        if not line:
            break
        name, _, value = line.partition(":")
        fields.setdefault(name.lower(), value.strip())
    if fields.get("name", "").lower().replace("-", "_") != "mod_wsgi" or not fields.get("version"):
        _fail(
            "%s is not a source distribution of mod_wsgi" % os.getcwd(),
            "modwsgi.build builds what modwsgi package sdist makes; it is no backend for other projects",
        )
    return text, fields


def _arguments(config_settings):
    """The program's arguments for the settings of the caller and the environment."""
    settings = {}
    for name in _VALUES + _SWITCHES:
        value = os.environ.get("MODWSGI_" + name.upper().replace("-", "_"))
        if value:
            settings[name] = [value]
    for key, value in (config_settings or {}).items():
        name = key.lstrip("-").replace("_", "-").lower()
        if key in _OF_OTHERS:
            continue
        if name not in _VALUES + _SHARED + _SWITCHES:
            _fail("there is no setting %r" % key, "the settings are " + ", ".join(_VALUES + _SHARED + _SWITCHES))
        settings[name] = [str(v) for v in value] if isinstance(value, (list, tuple)) else [str(value)]
    arguments = []
    for name in _VALUES + _SHARED:
        for value in settings.get(name, []):
            if name in ("source-dir", "cache-dir", "cache-trust", "cache-sign-key") and not os.path.isabs(value):
                _fail("the setting %s=%s is not an absolute path" % (name, value), "pip builds in a directory of its own, so that others mean nothing")
            arguments.append("--%s=%s" % (name, value))
    for name in _SWITCHES:
        for value in settings.get(name, [])[-1:]:
            if value.lower() not in _YES + _NO:
                _fail("the setting %s=%s is neither yes nor no" % (name, value))
            if value.lower() in _YES:
                arguments.append("--" + name)
    return arguments


def _program():
    try:
        return find_program()
    except FileNotFoundError as error:
        _fail(str(error), "install the package modwsgi again")


def _run(command):
    """Run modwsgi. Its output is ours: pip -v shows it as it comes, and pip shows
    all of it where the build fails."""
    sys.stdout.flush()
    sys.stderr.flush()
    environment = dict(os.environ)
    # What pip sets for the build environment must not reach the programs of the
    # build: the interpreter is asked about itself, not about pip's scratch space.
    environment.pop("PYTHONPATH", None)
    environment.pop("PYTHONHOME", None)
    # No shell and no terminal: nobody could answer a question.
    try:
        code = subprocess.call(command, stdin=subprocess.DEVNULL, env=environment)
    except OSError as error:
        _fail("modwsgi could not be started: %s" % error, "is %s on a file system that forbids execution, or for another machine?" % command[0])
    if code < 0:
        _fail("modwsgi was ended by signal %d" % -code)
    if code:
        sys.exit(code)  # it has said why


def _fail(what, cure=""):
    """End the build with a message that is not a traceback."""
    print("modwsgi: error: " + what, file=sys.stderr)
    if cure:
        print("modwsgi: hint: " + cure, file=sys.stderr)
    sys.stderr.flush()
    sys.exit(1)
