"""Reports facts about Python sources to mod_wsgi-express.

Standard input is a JSON object:

    {"files": [{"name": NAME, "data": BASE64}, ...],
     "settings": {"files": [INDEX, ...], "names": [NAME, ...]}}

and standard output is another one, with the facts about each file in the same order, and
the values of settings that can be known without running anything.  The sources are only
parsed: nothing is imported or executed, and no file is opened.  Python 3.8 or later.
"""

import ast
import base64
import json
import os.path
import sys

WEB = ("application", "app")
FACTORIES = ("create_app", "make_app", "create_application", "make_application")


def dotted(node):
    """Return the name that an expression such as a.b.c refers to, or None."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return ".".join([node.id] + parts[::-1])


def is_main(test):
    """Report whether a condition is only true for a program or a type checker."""
    if isinstance(test, ast.Compare) and dotted(test.left) == "__name__":
        return True
    return dotted(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def statements(body):
    """Yield the statements that run when a module is imported."""
    for node in body:
        yield node
        if isinstance(node, ast.If):
            if not is_main(node.test):
                yield from statements(node.body)
            yield from statements(node.orelse)
        elif isinstance(node, (ast.With, ast.For, ast.While)):
            yield from statements(node.body)
        elif isinstance(node, ast.Try):
            yield from statements(node.body)
            for handler in node.handlers:
                yield from statements(handler.body)
            yield from statements(node.orelse)
            yield from statements(node.finalbody)


class Module:
    def __init__(self, data):
        self.text = data
        self.tree = ast.parse(data)
        self.names = {}  # what an imported name stands for
        self.bindings = {}
        self.imports = []
        self.stars = []
        self.variables = {}

    def full(self, name):
        """Return a dotted name with its first part replaced by what it was imported from."""
        if name is None:
            return None
        first, _, rest = name.partition(".")
        first = self.names.get(first, first)
        return first + "." + rest if rest else first

    def read(self):
        for node in statements(self.tree.body):
            self.statement(node)
        for node in ast.walk(self.tree):
            self.anywhere(node)
        return self

    def statement(self, node):
        if isinstance(node, ast.Import):
            for alias in node.names:
                self.names[alias.asname or alias.name.partition(".")[0]] = alias.name if alias.asname else alias.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom):
            source = "." * node.level + (node.module or "")
            for alias in node.names:
                if alias.name == "*":
                    self.stars.append(source)
                    continue
                full = source + ("" if source.endswith(".") else ".") + alias.name
                self.names[alias.asname or alias.name] = full
                self.bind(alias.asname or alias.name, node, kind="import", value=full)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    self.assign(target.id, node, node.value)
        elif isinstance(node, ast.AnnAssign):
            if isinstance(node.target, ast.Name) and node.value is not None:
                self.assign(node.target.id, node, node.value)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            args = node.args
            before = getattr(args, "posonlyargs", []) + args.args
            required = len(before) - len(args.defaults) + sum(default is None for default in args.kw_defaults)
            most = -1 if args.vararg else len(before)
            kind = "async" if isinstance(node, ast.AsyncFunctionDef) else "def"
            self.bind(node.name, node, kind=kind, required=required, most=most)
        elif isinstance(node, ast.ClassDef):
            self.bind(node.name, node, kind="class")

    def assign(self, name, node, value):
        if isinstance(value, ast.Call):
            text = ast.get_source_segment(self.source(), value) or ""
            _, _, arguments = text.partition("(")
            self.bind(name, node, kind="call", value=self.full(dotted(value.func)) or "", arguments="(" + arguments)
        elif isinstance(value, (ast.Name, ast.Attribute)):
            self.bind(name, node, kind="name", value=self.full(dotted(value)) or "")
        elif isinstance(value, (ast.Lambda,)):
            self.bind(name, node, kind="def", required=len(value.args.args) - len(value.args.defaults), most=len(value.args.args))
        elif isinstance(value, (ast.Constant, ast.List, ast.Dict, ast.Set, ast.Tuple, ast.JoinedStr)):
            self.bindings.pop(name, None) if isinstance(value, ast.Constant) and value.value is None else self.bind(name, node, kind="constant")
        else:
            self.bind(name, node, kind="other")

    def source(self):
        if isinstance(self.text, bytes):
            self.text = self.text.decode("utf-8", "replace")
        return self.text

    def bind(self, name, node, **facts):
        before = self.bindings.get(name)
        if before and before["kind"] in ("call", "def", "class") and facts["kind"] in ("constant", "name", "other"):
            if facts["kind"] != "constant":
                return  # app = wrap(app): what it was says more
        if before and facts["kind"] == "call" and before["kind"] == "call" and any(
                isinstance(n, ast.Name) and n.id == name for n in ast.walk(node.value)):
            return
        self.bindings[name] = dict(facts, name=name, line=node.lineno)

    def anywhere(self, node):
        """Imports also count within functions, and so do variables of the environment."""
        if isinstance(node, ast.Import):
            self.imports.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = "." * node.level + (node.module or "")
            self.imports.append(source)
            self.imports.extend(source + ("" if source.endswith(".") else ".") + alias.name for alias in node.names if alias.name != "*")
        elif isinstance(node, ast.Call) and (dotted(node.func) or "").endswith("environ.setdefault") and len(node.args) == 2:
            self.variable(*node.args)
        elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Subscript):
            target = node.targets[0]
            if (dotted(target.value) or "").endswith("environ"):
                key = target.slice
                self.variable(getattr(key, "value", key), node.value)

    def variable(self, name, value):
        name = name.value if isinstance(name, ast.Constant) else name
        if isinstance(name, str) and isinstance(value, ast.Constant) and isinstance(value.value, str):
            self.variables.setdefault(name, {"value": value.value, "line": value.lineno})

    def facts(self):
        wanted = []
        for name, b in self.bindings.items():
            if name in WEB + FACTORIES + ("server",) or b["kind"] in ("call", "def"):
                wanted.append(b)
        return {
            "bindings": sorted(wanted, key=lambda b: b["line"]), "imports": sorted(set(self.imports)), "stars": self.stars,
            "variables": self.variables,
        }


class Unknown(Exception):
    pass


class Path(str):
    """A path, apart from text: it has an operator for the next part."""


class Settings:
    """Works out values of settings, as far as they do not depend on the machine."""

    def __init__(self):
        self.values = {}
        self.places = {}

    def run(self, name, module):
        file = {"__file__": name}
        for node in statements(module.tree.body):
            target, value = None, None
            if isinstance(node, ast.Assign) and len(node.targets) == 1:
                target, value = node.targets[0], node.value
            elif isinstance(node, ast.AnnAssign):
                target, value = node.target, node.value
            if not isinstance(target, ast.Name) or value is None:
                continue
            try:
                self.values[target.id] = self.value(value, module, file)
            except Unknown:
                self.values[target.id] = Unknown
            self.places[target.id] = {"file": name, "line": node.lineno}

    def value(self, node, module, file):
        if isinstance(node, ast.Constant) and isinstance(node.value, (str, bool)):
            return node.value
        if isinstance(node, ast.Name):
            found = file.get(node.id, self.values.get(node.id, Unknown))
            if found is Unknown:
                raise Unknown
            return found
        if isinstance(node, ast.JoinedStr):
            return "".join(str(self.value(v.value if isinstance(v, ast.FormattedValue) else v, module, file)) for v in node.values)
        if isinstance(node, ast.BinOp):
            left, right = self.value(node.left, module, file), self.value(node.right, module, file)
            if isinstance(node.op, ast.Div) and isinstance(left, Path) and isinstance(right, str):
                return Path(os.path.join(left, right))
            if isinstance(node.op, ast.Add) and type(left) is str and type(right) is str:
                return left + right
        if isinstance(node, ast.Attribute) and node.attr == "parent":
            path = self.value(node.value, module, file)
            if isinstance(path, Path):
                return Path(os.path.dirname(path))
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Attribute) and node.value.attr == "parents":
            path = self.value(node.value.value, module, file)
            index = getattr(node.slice, "value", node.slice)
            index = index.value if isinstance(index, ast.Constant) else index
            if isinstance(path, Path) and isinstance(index, int):
                for _ in range(index + 1):
                    path = Path(os.path.dirname(path))
                return path
        if isinstance(node, ast.Call) and not node.keywords:
            return self.call(node, module, file)
        raise Unknown

    def call(self, node, module, file):
        function = module.full(dotted(node.func)) or ""
        if function in ("pathlib.Path", "str", "os.fspath", "os.path.abspath", "os.path.realpath", "os.path.normpath", "os.path.dirname", "os.path.join"):
            values = [self.value(a, module, file) for a in node.args]
            if not values or not all(isinstance(v, str) for v in values):
                raise Unknown
            if function == "pathlib.Path":
                return Path(os.path.join(*values))
            if function == "os.path.dirname":
                return os.path.dirname(values[0])
            if function == "os.path.join":
                return os.path.join(*map(str, values))
            return str(values[0]) if function in ("str", "os.fspath") else os.path.normpath(values[0])
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("resolve", "absolute", "joinpath", "as_posix"):
            path = self.value(node.func.value, module, file)
            if isinstance(path, Path):
                values = [self.value(a, module, file) for a in node.args]
                if node.func.attr == "joinpath" and all(isinstance(v, str) for v in values):
                    return Path(os.path.join(path, *values))
                if not values:
                    return str(path) if node.func.attr == "as_posix" else Path(os.path.normpath(path))
        raise Unknown


def main():
    asked = json.load(sys.stdin)
    modules, answers = [], []
    for file in asked["files"]:
        try:
            module = Module(base64.b64decode(file["data"])).read()
            answers.append(module.facts())
        except SyntaxError as error:
            module = None
            answers.append({"error": error.msg or "invalid syntax", "line": error.lineno or 1})
        except (ValueError, RecursionError, MemoryError) as error:
            module = None
            answers.append({"error": str(error) or type(error).__name__, "line": 1})
        modules.append(module)
    settings = Settings()
    wanted = asked.get("settings") or {"files": [], "names": []}
    for index in wanted["files"]:
        if modules[index] is not None:
            settings.run(asked["files"][index]["name"], modules[index])
    known = {}
    for name in wanted["names"]:
        if name in settings.places:
            known[name] = dict(settings.places[name])
            if settings.values[name] is not Unknown:
                known[name]["value"] = settings.values[name]
    builtin = set(sys.builtin_module_names) | set(getattr(sys, "stdlib_module_names", ()))
    json.dump({"facts": answers, "settings": known, "taken": sorted(builtin)}, sys.stdout)


main()
