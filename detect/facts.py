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
facts["vars"] = dict((k, plain(str(var(k)))) for k in names if var(k) is not None)
sys.stdout.write("\n<<<modwsgi " + json.dumps(facts) + " modwsgi>>>\n")
sys.stdout.flush()
