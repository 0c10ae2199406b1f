"""Read the real libraries' sources without importing them: definitions of names and signatures of calls."""

import ast
import inspect
from functools import cache
from pathlib import Path


class Sources:
    """The modules of one unpacked wheel."""

    def __init__(self, folder, library):
        self.folder = Path(folder)
        self.library = library

    @cache  # noqa: B019 (one object for each test run)
    def module(self, name):
        """Return a module's syntax tree and whether it is a package; None if it does not exist."""
        base = self.folder / Path(*name.split("."))
        for path, package in ((base / "__init__.py", True), (base.with_suffix(".py"), False)):
            if path.exists():
                return ast.parse(path.read_bytes()), package
        return None

    def find(self, module, name):
        """Resolve `name` in a module. Returns the module that defines it and its node."""
        found = self.module(module)
        if found is None:
            return None
        tree, package = found
        for node in tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
                return module, node
            if isinstance(node, ast.ImportFrom):
                target = self._absolute(module, package, node)
                for alias in node.names:
                    if alias.name == "*" or (alias.asname or alias.name) == name:
                        wanted = name if alias.name == "*" else alias.name
                        if target.startswith(self.library) and (there := self.find(target, wanted)):
                            return there
        return None

    @staticmethod
    def _absolute(module, package, node):
        if not node.level:
            return node.module or ""
        parts = module.split(".")
        parts = parts[: len(parts) - node.level + package]
        return ".".join([*parts, *([node.module] if node.module else [])])

    def member(self, module, node, name):
        """Return a method or nested class of a class or of its bases."""
        for part in node.body:
            if isinstance(part, ast.FunctionDef | ast.ClassDef) and part.name == name:
                return module, part
        for base in node.bases:
            found = self.find(module, base.id) if isinstance(base, ast.Name) else None
            if found and (there := self.member(found[0], found[1], name)):
                return there
        return None


def function_signature(node, *, method):
    """Return the signature of a function; without `self` for a method."""
    arguments, kinds = node.args, inspect.Parameter
    plain = [*arguments.posonlyargs, *arguments.args]
    without = len(plain) - len(arguments.defaults)
    parameters = [
        kinds(
            argument.arg,
            kinds.POSITIONAL_OR_KEYWORD,
            default=kinds.empty if at < without else ast.unparse(arguments.defaults[at - without]),
        )
        for at, argument in enumerate(plain)
    ]
    if arguments.vararg:
        parameters.append(kinds(arguments.vararg.arg, kinds.VAR_POSITIONAL))
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        value = kinds.empty if default is None else ast.unparse(default)
        parameters.append(kinds(argument.arg, kinds.KEYWORD_ONLY, default=value))
    if arguments.kwarg:
        parameters.append(kinds(arguments.kwarg.arg, kinds.VAR_KEYWORD))
    static = any(ast.unparse(decorator) == "staticmethod" for decorator in node.decorator_list)
    return inspect.Signature(parameters[1:] if method and not static else parameters)
