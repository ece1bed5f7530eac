"""Build backend for source distributions of mod_wsgi (PEP 517, PEP 660).

It uses the program modwsgi to build source distributions created by "modwsgi package
sdist": mod_wsgi for the Python that runs this file, with the system's Apache httpd or
a bundled one. It does not build other projects.

Settings (pip install --config-settings NAME=VALUE, or the environment variable
MODWSGI_NAME; names may be written with "-" or "_"):

  httpd          auto (the default), bundled, system, or a path
  httpd-version  version of a bundled httpd, or a constraint for it
  with, without  features that a bundled httpd must or must not have
  libraries      libraries of its features: host, bundled (from source), or auto
  hardening      compiler flags against exploitation: auto (the default) or none
  source-dir     directory with source archives, searched first
  mirror         base URL of a mirror with source archives
  offline        1: never use the network
  allow-vulnerable  1: allow versions with known vulnerabilities
  jobs           number of parallel compilers
  cache-dir      directory for downloads and builds
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

_VALUES = ("httpd", "httpd-version", "with", "without", "libraries", "hardening", "source-dir", "mirror", "jobs", "cache-dir")
# The program reads the environment variables of these settings itself.
_SHARED = ("cache", "cache-trust", "cache-sign-key", "cache-max-age", "cache-not-before")
_SWITCHES = ("offline", "allow-vulnerable")
_YES = ("1", "true", "yes", "on")
_NO = ("0", "false", "no", "off", "")
# Options of pip itself, which passes them to the backends of all projects.
_OF_PIP = ("--global-option", "--build-option")


def get_requires_for_build_wheel(config_settings=None):
    return []


def get_requires_for_build_sdist(config_settings=None):
    return []


def get_requires_for_build_editable(config_settings=None):
    return []


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    """Write the metadata of the wheel without building it."""
    _arguments(config_settings)  # report invalid settings before building
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
    # A separate directory, so that its only file is the wheel.
    out = tempfile.mkdtemp(prefix=".modwsgi-", dir=wheel_directory)
    try:
        command = [program, "package", "local-wheel", "--progress", "plain", "--python", sys.executable, "--sdist", os.getcwd(), "--out", out]
        _run(command + arguments)
        names = [name for name in os.listdir(out) if name.endswith(".whl")]
        if len(names) != 1:
            _fail("modwsgi created %d wheels instead of one" % len(names))
        os.replace(os.path.join(out, names[0]), os.path.join(wheel_directory, names[0]))
        return names[0]
    finally:
        shutil.rmtree(out, ignore_errors=True)


def prepare_metadata_for_build_editable(metadata_directory, config_settings=None):
    return prepare_metadata_for_build_wheel(metadata_directory, config_settings)


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    """Build the same wheel, because the tree has no editable Python source."""
    return build_wheel(wheel_directory, config_settings, metadata_directory)


def build_sdist(sdist_directory, config_settings=None):
    """Pack the tree again, reproducibly."""
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
    """Return the files of the source distribution, ignoring unrelated ones."""
    names = [name for name in ("LICENSE", "PKG-INFO", "README.txt", "modwsgi.lock", "pyproject.toml") if os.path.isfile(name)]
    if os.path.isdir("sources"):
        names += ["sources/" + name for name in os.listdir("sources") if os.path.isfile(os.path.join("sources", name))]
    return sorted(names)


def _pkg_info():
    """Return PKG-INFO of the current tree, as bytes and as fields."""
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
            "modwsgi.build builds only source distributions created by modwsgi package sdist",
        )
    return text, fields


def _arguments(config_settings):
    """Return the program's arguments for the caller's settings and the environment."""
    settings = {}
    for name in _VALUES + _SWITCHES:
        value = os.environ.get("MODWSGI_" + name.upper().replace("-", "_"))
        if value:
            settings[name] = [value]
    for key, value in (config_settings or {}).items():
        name = key.lstrip("-").replace("_", "-").lower()
        if key in _OF_PIP:
            continue
        if name not in _VALUES + _SHARED + _SWITCHES:
            _fail("unknown setting %r" % key, "the available settings are " + ", ".join(_VALUES + _SHARED + _SWITCHES))
        settings[name] = [str(v) for v in value] if isinstance(value, (list, tuple)) else [str(value)]
    arguments = []
    for name in _VALUES + _SHARED:
        for value in settings.get(name, []):
            if name in ("source-dir", "cache-dir", "cache-trust", "cache-sign-key") and not os.path.isabs(value):
                _fail("the setting %s=%s is not an absolute path" % (name, value), "pip builds in a temporary directory, so relative paths are not supported")
            arguments.append("--%s=%s" % (name, value))
    for name in _SWITCHES:
        for value in settings.get(name, [])[-1:]:
            if value.lower() not in _YES + _NO:
                _fail("the setting %s=%s must be yes or no" % (name, value))
            if value.lower() in _YES:
                arguments.append("--" + name)
    return arguments


def _program():
    try:
        return find_program()
    except FileNotFoundError as error:
        _fail(str(error), "reinstall the package modwsgi")


def _run(command):
    """Run modwsgi. It inherits the standard streams, so pip -v shows its output
    immediately, and pip shows all of it if the build fails."""
    sys.stdout.flush()
    sys.stderr.flush()
    environment = dict(os.environ)
    # Remove pip's settings for the build environment. modwsgi must examine the
    # interpreter itself, not pip's temporary environment.
    environment.pop("PYTHONPATH", None)
    environment.pop("PYTHONHOME", None)
    # No shell and no standard input, because nobody could answer a prompt.
    try:
        code = subprocess.call(command, stdin=subprocess.DEVNULL, env=environment)
    except OSError as error:
        _fail("cannot start modwsgi: %s" % error, "check that %s is not on a file system mounted with noexec, and was built for this machine" % command[0])
    if code < 0:
        _fail("modwsgi was killed by signal %d" % -code)
    if code:
        sys.exit(code)  # modwsgi has reported the error


def _fail(what, hint=""):
    """End the build with a message that is not a traceback."""
    print("modwsgi: error: " + what, file=sys.stderr)
    if hint:
        print("modwsgi: hint: " + hint, file=sys.stderr)
    sys.stderr.flush()
    sys.exit(1)
