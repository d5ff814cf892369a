"""Which code made a result: a hash of the trainer's own import closure.

    closure(M)  =  M, and every module inside sgm_core that a module of the closure imports
    hash(M)     =  SHA-256 over (name, abstract syntax tree without docstrings) of the closure

Comments, docstrings and layout are not in the tree, so rewording them retrains nothing; any other
edit in any file that the trainer can reach changes the hash. Imports count wherever they stand in
a file (also inside a function), except under `if TYPE_CHECKING:`, which never runs. A package that
is only passed through (`sgm_core.data` in `from sgm_core.data.dataset import X`) counts with its own
`__init__` and not with what that imports: no name of it is used, and no module of sgm_core does
anything by being imported.

A process, network or sampler is named in `sgm_core.config` by a string "module:Class" and loaded by
that name; no file imports them all, so the one that a cell uses is added to M by its name and an
edit of another one leaves the cell alone. A process of the user's own is a module outside of
sgm_core: its closure also has what it imports from its own folder.

Two things that the trainer imports are left out on purpose:

* `sgm_core.config`, `sgm_core.errors`: the resolved parameters are in a cell's key, so a changed
  default changes the keys that it touches and no others; wording changes none.
* `sgm_core.store`: how bytes reach the disk changes none of them.

The hash does not depend on the Python version: fields that are empty are not written.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from sgm_core.errors import SgmError

PACKAGE = "sgm_core"
ROOT = Path(__file__).resolve().parent.parent
STDLIB = Path(os.__file__).resolve().parent
LEFT_OUT = ("sgm_core.config", "sgm_core.errors", "sgm_core.store")


def closure_hash(modules: Iterable[str], root: Path = ROOT) -> str:
    """Return the hash of the code that `modules` can reach.

    Args:
        modules: dotted names, e.g. ["sgm_core.train.run", "sgm_core.process.vp", "my_ou"]; those
            outside of sgm_core must be importable.
        root: the folder that holds the package `sgm_core`.

    Raises:
        SgmError: a module does not exist, or a file has a syntax error (file and line named).
    """
    digest = hashlib.sha256()
    for name, part in module_hashes(modules, root).items():
        digest.update(f"{name} {part}\n".encode())
    return digest.hexdigest()


def module_hashes(modules: Iterable[str], root: Path = ROOT) -> dict[str, str]:
    """Return the hash of every module in the closure of `modules`; the errors of `closure_hash`."""
    asked = (tuple(sorted(set(modules))), str(root))
    if asked in _known:
        places, signature, known = _known[asked]
        if _signature(places) == signature:
            return known
    found = sorted(closure(asked[0], root).items())
    # Folders too: a new file can make an imported name a module.
    places = sorted({str(place) for _, path in found for place in (path, path.parent)})
    signature = _signature(places)
    hashes = {name: _read(path).digest for name, path in found}
    _known[asked] = places, signature, hashes
    return hashes


# What was asked before -> the files and folders it depended on, their state, the answer.
Known = tuple[list[str], list[tuple[int, ...]], dict[str, str]]
_known: dict[tuple[tuple[str, ...], str], Known] = {}


def _signature(places: list[str]) -> list[tuple[int, ...]]:
    """The state of files and folders: enough to see that none was edited, added or removed."""
    states: list[tuple[int, ...]] = []
    for place in places:
        try:
            stat = os.stat(place)
        except OSError:
            return []
        states.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
    return states


def closure(modules: Iterable[str], root: Path = ROOT) -> dict[str, Path]:
    """Return the import closure of `modules`: dotted name -> file.

    Raises:
        SgmError: a module of the list does not exist.
    """
    found: dict[str, Path] = {}
    # True: names of the module are used; False: a package that is only passed through.
    todo: list[tuple[str, bool, Path]] = []
    for name in modules:
        home = root if _inside(name) else _home(name)
        if home is None or _file(name, home) is None:
            raise SgmError(f"module {name} does not exist below {home or root}; check its target")
        todo.append((name, True, home))
    done: set[tuple[str, bool]] = set()
    while todo:
        name, entered, home = todo.pop()
        path = _file(name, home)
        if (name, entered) in done or path is None or _left_out(name):
            continue
        done.add((name, entered))
        found[name] = path
        todo += [(parent, False, home) for parent in _parents(name)]
        if entered:
            base = name if path.name == "__init__.py" else name.rpartition(".")[0]
            for statement in _read(path).imports:
                module = _absolute(statement, base)
                if _inside(module) or _own(module, name, home):
                    place = root if _inside(module) else home
                    todo += [(*target, place) for target in _targets(statement, module, place)]
    return found


def outside(modules: Iterable[str]) -> dict[str, Path]:
    """Return the part of the closure of `modules` that is not sgm_core: dotted name -> file."""
    return {name: path for name, path in closure(modules).items() if not _inside(name)}


# An import as written: (dots, module, names); `import a.b` has no names.
Import = tuple[int, str, tuple[str, ...]]


class _Parsed:
    """What is needed of one file: its hash and its imports."""

    def __init__(self, tree: ast.Module) -> None:
        self.digest = hashlib.sha256(_text(tree).encode()).hexdigest()
        self.imports = tuple(_imports(tree))


def _read(path: Path) -> _Parsed:
    """Parse a file once per version of it."""
    try:
        stat = os.stat(path)
        return _parse(str(path), stat.st_mtime_ns, stat.st_size, stat.st_ino)
    except SyntaxError as error:
        raise SgmError(f"{path}, line {error.lineno}: {error.msg}; mend the file") from None
    except (OSError, ValueError) as error:
        raise SgmError(f"{path}: cannot be read as Python ({error}); mend the file") from None


@functools.lru_cache(maxsize=1024)
def _parse(path: str, mtime_ns: int, size: int, inode: int) -> _Parsed:
    return _Parsed(ast.parse(Path(path).read_bytes(), filename=path))


DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def _text(node: object) -> str:
    """The tree as nested tuples are written, without positions, docstrings and empty fields.

    As text at once: tuples of tuples would keep the garbage collector busy for as long again.
    """
    if isinstance(node, ast.AST):
        kept = ""
        for name in node._fields:
            value = getattr(node, name, None)
            if name == "body" and isinstance(node, DOCUMENTED):
                value = node.body[ast.get_docstring(node, clean=False) is not None :]
            if value is not None and value != []:
                kept += f", ({name!r}, {_text(value)})"
        return f"({type(node).__name__!r}{kept or ','})"
    if isinstance(node, list):
        return f"[{', '.join(map(_text, node))}]"
    return repr(node)


BLOCKS = (ast.stmt, ast.ExceptHandler, ast.match_case)


def _imports(node: ast.AST) -> Iterator[Import]:
    """The import statements below a node that can run; an expression holds none."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((0, alias.name, ()) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield (child.level, child.module or "", tuple(a.name for a in child.names))
        elif isinstance(child, ast.If) and _type_checking(child.test):
            for other in child.orelse:
                yield from _imports(ast.Module([other], []))
        elif isinstance(child, BLOCKS):
            yield from _imports(child)


def _type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _absolute(statement: Import, base: str) -> str:
    """The module that an import statement names, relative imports resolved."""
    dots, module, _ = statement
    if not dots:
        return module
    parts = base.split(".")
    parts = parts[: len(parts) - dots + 1]
    return ".".join([*parts, module] if module else parts)


def _targets(statement: Import, module: str, root: Path) -> Iterator[tuple[str, bool]]:
    """The modules below `root` that an import of `module` enters, or passes through."""
    names = statement[2]
    inside = [name for name in names if _file(f"{module}.{name}", root) is not None]
    yield from ((f"{module}.{name}", True) for name in inside)
    # `from package import module` alone only passes through the package.
    yield (module, len(inside) < len(names))
    if not names:  # `import a.b.c` gives the names of a and a.b as well
        yield from ((package, True) for package in [module, *_parents(module)])


def _inside(module: str) -> bool:
    return module == PACKAGE or module.startswith(f"{PACKAGE}.")


def _home(name: str) -> Path | None:
    """The folder that an importable module outside of sgm_core is below."""
    top = name.partition(".")[0]
    try:
        spec = importlib.util.find_spec(top)
        if spec is not None and spec.origin is None:  # a folder without __init__.py
            top, spec = name, importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    depth = top.count(".") + bool(spec.submodule_search_locations)
    return Path(spec.origin).resolve().parents[depth]


def _own(module: str, importer: str, home: Path) -> bool:
    """Whether a module outside of sgm_core imports another one of its own project."""
    top, own = (name.partition(".")[0] for name in (module, importer))
    if _inside(importer) or not top:
        return False
    return top == own or (not installed(home) and _file(top, home) is not None)


def installed(home: Path) -> bool:
    """Whether a folder of modules is Python's own and no project's."""
    return home.name in ("site-packages", "dist-packages") or home == STDLIB


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


def _left_out(name: str) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in LEFT_OUT)


def _file(name: str, root: Path) -> Path | None:
    """The file of a module: `a/b.py` or `a/b/__init__.py`."""
    # Plain strings, because this is asked some 100 times per key and pathlib would dominate it.
    path = os.path.join(root, *name.split("."))
    for candidate in (f"{path}.py", os.path.join(path, "__init__.py")):
        if os.path.isfile(candidate):
            return Path(candidate)
    return None
