"""The house's own lint rules, those that ruff, mypy and import-linter cannot hold; pure functions of source text that must not
know where the text came from. Each returns findings as `line: what is wrong, what to do`; tests/unit/house runs them.
"""

import ast
import re
from collections.abc import Iterator

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
MAX_PARAMETERS = 6
NAMELESS = frozenset({"utils", "util", "helpers", "helper", "common", "manager", "misc"})
# Hosts are spelt in pieces, so that this file passes its own rule.
REGISTRY_HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("proxy", "golang", "org"),
        ("sum", "golang", "org"),
        ("registry", "npmjs", "org"),
        ("registry", "yarnpkg", "com"),
        ("crates", "io"),
        ("rubygems", "org"),
        ("repo", "maven", "apache", "org"),
        ("deb", "debian", "org"),
        ("archive", "ubuntu", "com"),
    )
)
HOME_PATHS = re.compile(
    r"(?<![\w.~}-])(?:"
    + "|".join(("/" + "root/", "/" + "home/[a-z]", "/" + "Users/[A-Za-z]", "/" + "work/(?:main|shared)"))
    + ")"
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST) -> Iterator[Function]:
    """Every function and method, however deep."""
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield node


def long_file(source: str) -> list[str]:
    """A module is one screenful of one idea, not a drawer."""
    count = len(source.splitlines())
    return [f"1: {count} lines, at most {MAX_FILE_LINES}: split the file by concept"] if count > MAX_FILE_LINES else []


def long_functions(source: str) -> list[str]:
    """Counted from `def` to the last line, docstring and comments left out: explaining is free."""
    findings = []
    for node in functions(ast.parse(source)):
        lines = code_lines(node, source)
        if lines > MAX_FUNCTION_LINES:
            findings.append(
                f"{node.lineno}: {node.name} has {lines} lines, at most {MAX_FUNCTION_LINES}: name its steps"
            )
    return findings


def code_lines(node: Function, source: str) -> int:
    """Lines of a function that are neither blank, nor comment, nor its docstring."""
    skipped: set[int] = set()
    if ast.get_docstring(node) is not None:
        first = node.body[0]
        skipped.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    text = source.splitlines()
    span = range(node.lineno, (node.end_lineno or node.lineno) + 1)
    return sum(1 for n in span if n not in skipped and text[n - 1].strip() and not text[n - 1].lstrip().startswith("#"))


def many_parameters(source: str) -> list[str]:
    """More than six parameters want a dataclass; `self` and `cls` are not counted, keyword-only ones are."""
    findings = []
    for node in functions(ast.parse(source)):
        arguments = node.args
        named = [arg.arg for arg in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
        count = len([name for name in named if name not in {"self", "cls"}])
        count += (arguments.vararg is not None) + (arguments.kwarg is not None)
        if count > MAX_PARAMETERS:
            findings.append(
                f"{node.lineno}: {node.name} takes {count} parameters, at most {MAX_PARAMETERS}: make a dataclass"
            )
    return findings


def no_docstring(source: str) -> list[str]:
    """A module opens with what it is for and what it must not do."""
    return (
        [] if ast.get_docstring(ast.parse(source)) else ["1: no module docstring: say what it is for and must not do"]
    )


def nameless_module(path: str) -> list[str]:
    """A module is named after what it is about."""
    parts = path.removesuffix(".py").split("/")
    bad = sorted(NAMELESS.intersection(word for part in parts for word in part.split("_")))
    return [f"1: {bad[0]!r} in the path says nothing: name the module after its concept"] if bad else []


def broad_excepts(source: str) -> list[str]:
    """`except:`, `except Exception` and `except BaseException`, alone or in a tuple; also `suppress` of them.

    A handler whose last statement is a plain `raise` only cleans up, and may.
    """
    findings = []
    for node in ast.walk(ast.parse(source)):
        caught: list[ast.expr] = []
        if isinstance(node, ast.ExceptHandler):
            if isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None:
                continue
            if node.type is None:
                findings.append(
                    f"{node.lineno}: bare except: catch what can happen here, let the rest reach the boundary"
                )
                continue
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        elif isinstance(node, ast.Call) and last_name(node.func) == "suppress":
            caught = node.args
        for broad in {last_name(one) for one in caught} & {"Exception", "BaseException"}:
            line = getattr(node, "lineno", 1)
            findings.append(f"{line}: catches {broad}: catch what can happen here, let the rest reach the boundary")
    return findings


def last_name(node: ast.expr) -> str:
    """`b` of `a.b`, `a` of `a`, else nothing."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def sleeps(source: str) -> list[str]:
    """`time.sleep` in a test hopes; wait for the thing itself, with a deadline."""
    return calls_of(source, "time", {"sleep"}, "wait for the thing itself, with a deadline")


def skips(source: str) -> list[str]:
    """A skipped test is one nobody runs: skip, skipif, importorskip, as call or mark."""
    tree = ast.parse(source)
    fix = "make the test runnable everywhere, or give it a marker that `make test` includes"
    findings = calls_of(source, "pytest", {"skip", "importorskip", "xfail"}, fix)
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and node.attr in {"skip", "skipif", "xfail"}
            and last_name(node.value) == "mark"
        ):
            findings.append(f"{node.lineno}: mark.{node.attr}: {fix}")
        if isinstance(node, ast.Call) and last_name(node.func) in {"skipTest", "SkipTest"}:
            findings.append(f"{node.lineno}: {last_name(node.func)}: {fix}")
    return findings


def calls_of(source: str, module: str, banned: set[str], fix: str) -> list[str]:
    """Uses of `module.name`, and of `from module import name`, for the banned names."""
    findings = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in banned and last_name(node.value) == module:
            findings.append(f"{node.lineno}: {module}.{node.attr}: {fix}")
        if isinstance(node, ast.ImportFrom) and node.module == module:
            found = banned.intersection(alias.name for alias in node.names)
            findings += [f"{node.lineno}: {module}.{name}: {fix}" for name in sorted(found)]
    return findings


def foreign_names(text: str) -> list[str]:
    """A package registry's host, or a path of somebody's machine: neither belongs into a file others use."""
    findings = []
    for number, line in enumerate(text.splitlines(), start=1):
        lowered = line.lower()
        findings += [
            f"{number}: names the registry {host}: leave it to the client" for host in REGISTRY_HOSTS if host in lowered
        ]
        if found := HOME_PATHS.search(line):
            findings.append(f"{number}: {found.group()!r} is a path of one machine: use a relative path or a variable")
    return findings
