"""Find the calls that an adapter makes into its library, from the adapter's syntax tree.

A name refers to a class or function of the library if the adapter imports it as one. The type of a value is
known if it is annotated, created by calling a class, or returned by a function with an annotation.
"""

import ast
from pathlib import Path

import paragone_exllama.library


class Adapter:
    """One adapter module, with the base class of all adapters, and the library that it imports."""

    def __init__(self, path, sources):
        self.tree = ast.parse(Path(paragone_exllama.library.__file__).read_bytes())
        self.tree.body += ast.parse(path.read_bytes()).body  # what it overrides comes later
        self.sources = sources
        self.imported = {}
        for line in self.tree.body:
            if isinstance(line, ast.ImportFrom) and (line.module or "").split(".")[0] == sources.library:
                for alias in line.names:
                    found = sources.find(line.module, alias.name)
                    if found is not None:
                        self.imported[alias.asname or alias.name] = found
        self.classes = {node.name: node for node in self.tree.body if isinstance(node, ast.ClassDef)}
        self.attributes = {}
        self.returned = {}
        for owner in self.classes.values():
            for node in ast.walk(owner):
                if isinstance(node, ast.FunctionDef) and node.returns is not None:
                    self.returned[node.name] = self.annotated(node.returns)

    def calls(self):
        """Yield each call into the library: its name, the call, and the definition of what is called."""
        functions = [node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef)]
        for _ in range(2):  # twice, because an attribute may be used before the function that sets it
            for function in functions:
                self.note(function)
        for function in functions:
            locals_ = self.note(function)
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and (found := self.called(node, locals_)):
                    yield found[0], node, found[1]

    def note(self, function):
        """Return the classes of a function's variables, and store those of the attributes that it sets."""
        locals_ = {
            argument.arg: kind
            for argument in function.args.args
            if argument.annotation is not None and (kind := self.annotated(argument.annotation))
        }
        for node in ast.walk(function):
            target: ast.expr
            if isinstance(node, ast.AnnAssign):
                target, kind = node.target, self.annotated(node.annotation)
            elif isinstance(node, ast.Assign):
                target, kind = node.targets[0], self.kind(node.value, locals_)
            else:
                continue
            if kind and isinstance(target, ast.Name):
                locals_[target.id] = kind
            elif kind and isinstance(target, ast.Attribute):
                self.attributes.setdefault(target.attr, kind)
        return locals_

    def annotated(self, node):
        """Return the library's class that an annotation names, also in a union."""
        if isinstance(node, ast.BinOp):
            return self.annotated(node.left) or self.annotated(node.right)
        if isinstance(node, ast.Name):
            found = self.imported.get(node.id)
            return found if found and isinstance(found[1], ast.ClassDef) else None
        return None

    def kind(self, node, locals_):
        """Return the class of a value, if it is a class of the library."""
        if isinstance(node, ast.Name):
            return locals_.get(node.id)
        if isinstance(node, ast.Attribute):
            return self.attributes.get(node.attr) if self.is_self(node.value) else None
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and self.is_self(node.func.value):
                return self.returned.get(node.func.attr)
            if isinstance(node.func, ast.Name) and node.func.id == "_Job":
                return self.base("_Job")
            found = self.called(node, locals_)
            if found is None:
                return None
            module, target = found[1]
            if isinstance(target, ast.ClassDef):
                return found[1]
            if target.returns is None and isinstance(node.func, ast.Attribute):
                # A factory method without an annotation returns an instance of its own class.
                return self.imported.get(ast.unparse(node.func.value))
            name = target.returns.id if isinstance(target.returns, ast.Name) else ""
            return self.sources.find(module, name) if name else None
        return None

    def called(self, node, locals_):
        """Return the name and definition of the called object, if it belongs to the library."""
        function = node.func
        if isinstance(function, ast.Name):
            if function.id in self.imported:
                return self.imported[function.id][1].name, self.imported[function.id]
            if function.id == "_Job":
                return self.base("_Job")[1].name, self.base("_Job")
            if function.id == "make_cache":  # one of several classes with the same signature
                return "ExLlamaV2Cache", self.imported["ExLlamaV2Cache"]
            return None
        if not isinstance(function, ast.Attribute):
            return None
        owner = function.value
        if isinstance(owner, ast.Call) and ast.unparse(owner) == "super()":
            kind = self.base("_Job")
        elif isinstance(owner, ast.Name) and owner.id in self.imported:
            kind = self.imported[owner.id]
        else:
            kind = self.kind(owner, locals_)
        if kind is None or not isinstance(kind[1], ast.ClassDef):
            return None
        there = self.sources.member(*kind, function.attr)
        return f"{kind[1].name}.{function.attr}", there or (kind[0], None)

    def base(self, name):
        (base, *_) = self.classes[name].bases
        assert isinstance(base, ast.Name)
        return self.imported[base.id]

    @staticmethod
    def is_self(node):
        return isinstance(node, ast.Name) and node.id == "self"
