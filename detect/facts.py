# Run once by modwsgi, with -I -S -B: no site, no .pth files, nothing written.
# Prints what the interpreter knows about itself as one line of JSON between
# two markers. Text is sent byte for byte as Latin-1, since a path need not be
# valid in any encoding. Must run on every Python 3.
import os, sys


def environment():
    # What site.py does for a virtual environment (PEP 405), which -S leaves out.
    here = os.path.dirname(os.path.abspath(sys.executable))
    above = os.path.dirname(here)
    for name in (os.path.join(here, "pyvenv.cfg"), os.path.join(above, "pyvenv.cfg")):
        if os.path.isfile(name):
            sys.prefix = sys.exec_prefix = above
            return name
    return ""


cfg = environment()
import json, sysconfig  # after environment(): sysconfig keeps the prefixes


def sites():
    # The package directories that site.py would put on sys.path. A distribution's
    # site.py may differ from sysconfig: Debian's uses dist-packages, Fedora's adds
    # /usr/local. Importing site with -S does nothing, and addsitepackages with no
    # prefixes only changes PREFIXES.
    try:
        import site
        site.PREFIXES = [sys.prefix, sys.exec_prefix]
        site.ENABLE_USER_SITE = not cfg  # -I disables it
        site.addsitepackages(set(), [])
        return [plain(path) for path in site.getsitepackages()]
    except Exception:  # not a site.py of CPython
        return []


def plain(value):
    if isinstance(value, str):
        return os.fsencode(value).decode("latin-1")
    return value


var = sysconfig.get_config_var
names = ("LDLIBRARY INSTSONAME LIBRARY LIBDIR LIBPL MULTIARCH SOABI EXT_SUFFIX Py_DEBUG "
         "Py_GIL_DISABLED Py_ENABLE_SHARED LIBS SYSLIBS INCLUDEPY CONFINCLUDEPY").split()
facts = {
    "executable": sys.executable,
    "prefix": sys.prefix,
    "base_prefix": getattr(sys, "base_prefix", sys.prefix),
    "exec_prefix": sys.exec_prefix,
    "cfg": cfg,
    "version": sys.version.split()[0],
    "major": sys.version_info[0],
    "minor": sys.version_info[1],
    "implementation": getattr(sys, "implementation", None) and sys.implementation.name or "",
    "abiflags": getattr(sys, "abiflags", ""),
    "platform": sysconfig.get_platform(),
}
facts = dict((k, plain(v)) for k, v in facts.items())
facts["paths"] = dict((k, plain(v)) for k, v in sysconfig.get_paths().items())
facts["sites"] = sites()
facts["vars"] = dict((k, plain(str(var(k)))) for k in names if var(k) is not None)
sys.stdout.write("\n<<<modwsgi " + json.dumps(facts) + " modwsgi>>>\n")
sys.stdout.flush()
