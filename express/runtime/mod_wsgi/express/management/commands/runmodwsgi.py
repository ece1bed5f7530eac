"""manage.py runmodwsgi: serve this project through mod_wsgi-express.

The command derives arguments from the project's settings and then replaces itself
by the launcher.  Its options are those of the launcher's start-server, obtained
from the launcher itself.
"""

import argparse
import json
import os
import posixpath
import subprocess
import sys
from urllib.parse import unquote, urlsplit

from django.core.management.base import BaseCommand, CommandError

from mod_wsgi.express import launcher, main


def _table():
    return json.loads(subprocess.check_output([launcher(), "list-options"]))


def _dest(name):
    return name.replace("-", "_")


class Command(BaseCommand):
    help = "Serves this project through Apache httpd and mod_wsgi."
    requires_system_checks = []  # False before Django 3.2, where an empty list has the same effect

    def add_arguments(self, parser):
        self.table = _table()
        parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
        groups = {}
        for option in self.table:
            if option["name"] == "help":
                continue
            title = option["group"]
            if title not in groups:
                groups[title] = parser.add_argument_group(title)
            kind = {"dest": _dest(option["name"]), "default": None, "help": option["help"].replace("%", "%%")}
            if option["hidden"]:
                kind["help"] = argparse.SUPPRESS
            if option["values"] == 0:
                kind.update(action="store_true", default=False)
            else:
                meta = option["meta"].split()
                kind["metavar"] = meta[0] if option["values"] == 1 else tuple(meta)
                if option["values"] > 1:
                    kind["nargs"] = option["values"]
                if option["repeatable"]:
                    kind["action"] = "append"
            names = [option["name"]] + option["aliases"]
            groups[title].add_argument(*["--" + name for name in names], **kind)

    def handle(self, *args, **options):
        if os.name == "nt":
            raise CommandError("runmodwsgi is not available on Windows")
        if options.get("arguments"):
            raise CommandError("runmodwsgi takes no arguments: the settings determine the application")
        if not options["json"]:
            self.stdout.write("Successfully ran command.")
            self.stdout.flush()
        words = self.from_settings(options)
        for option in self.table:
            words += self.words(option, options.get(_dest(option["name"])))
        try:
            main(["start-server"] + words)
        except FileNotFoundError as error:
            raise CommandError(str(error))

    def words(self, option, value):
        """Return the launcher's arguments for the value of an option."""
        name = "--" + option["name"]
        if value is None or value is False:
            return []
        if option["values"] == 0:
            return [name]
        uses = value if option["repeatable"] else [value]
        words = []
        for use in uses:
            parts = [str(part) for part in use] if option["values"] > 1 else [str(use)]
            words += [name + "=" + parts[0]] + parts[1:]
        return words

    def from_settings(self, options):
        """Return the arguments for the settings, and clear the options that they override."""
        from django.conf import settings

        application = getattr(settings, "WSGI_APPLICATION", None)
        words = ["--application-type=module"]
        options["application_type"] = None
        if application and "." in application:
            module, name = application.rsplit(".", 1)
            options["callable_object"] = None
            words += ["--callable-object=" + name]
            if not options["entry_point"]:
                words += ["--entry-point=" + module]
        elif not options["entry_point"]:
            raise CommandError("the settings do not define WSGI_APPLICATION; name the module with --entry-point")
        if not options["working_directory"]:
            words += ["--working-directory=" + self.project(settings)]
        if options.get("pythonpath"):
            words += ["--python-path=" + os.path.abspath(options["pythonpath"])]
        return words + self.static(settings, options)

    def project(self, settings):
        base = getattr(settings, "BASE_DIR", None)
        if base:
            return os.path.abspath(str(base))
        module = sys.modules[os.environ["DJANGO_SETTINGS_MODULE"]]
        return os.path.dirname(os.path.dirname(os.path.abspath(module.__file__)))

    def static(self, settings, options):
        root = getattr(settings, "STATIC_ROOT", None)
        if any(name.startswith("whitenoise.") for name in getattr(settings, "MIDDLEWARE", None) or ()):
            return []
        path = _static_path(settings, options)
        if not path or not root:
            return []
        root = os.path.abspath(str(root))
        there = os.path.isdir(root)
        if not there:
            self.stderr.write("warning: STATIC_ROOT %s does not exist (manage.py collectstatic creates it)" % root)
        if path == "/":
            # An alias would hide the application. A document root does not.
            return ["--document-root=" + root] if there and not options["document_root"] else []
        return ["--url-alias=" + path, root]


def _static_path(settings, options):
    """Return the URL path of the static files, or None if another server serves them.

    During a request, Django prefixes a relative STATIC_URL, the default for new
    projects, with the mount point of the application.  Outside of a request, as
    here, it does not.
    """
    url = getattr(getattr(settings, "_wrapped", settings), "STATIC_URL", None)
    if not url:
        return None
    url = str(url)
    parts = urlsplit(url)
    if parts.netloc or parts.scheme:
        names = [options["server_name"]] + list(options["server_alias"] or ())
        if parts.hostname not in [name.lower() for name in names if name]:
            return None
    path = unquote(parts.path)
    if not path.startswith("/"):
        prefix = getattr(settings, "FORCE_SCRIPT_NAME", None)
        if prefix is None:
            prefix = options["mount_point"] or "/"
        path = prefix + "/" + path
    return posixpath.normpath("/" + path.lstrip("/"))
