"""Every house rule on a bad sample and a good one (STYLE 20)."""

import pytest

import houserules

LONG_BODY = "\n".join(f"    x{n} = {n}" for n in range(51))
COMMENTED_BODY = "\n".join(f"    # {n}\n" for n in range(60)) + "    return 1"


@pytest.mark.parametrize(
    ("rule", "bad"),
    [
        (houserules.long_file, "x = 1\n" * 401),
        (houserules.long_functions, f"def f():\n{LONG_BODY}\n"),
        (houserules.long_functions, f"class C:\n  async def f(self):\n{LONG_BODY}\n"),
        (houserules.many_parameters, "def f(a, b, c, d, e, f, g): ..."),
        (houserules.many_parameters, "def f(a, *, b, c, d, e, f, g): ..."),
        (houserules.many_parameters, "class C:\n    def f(self, a, b, c, d, e, f, *more): ..."),
        (houserules.no_docstring, "import os\n"),
        (houserules.no_docstring, ""),
        (houserules.broad_excepts, "try: f()\nexcept: pass"),
        (houserules.broad_excepts, "try: f()\nexcept Exception: pass"),
        (houserules.broad_excepts, "try: f()\nexcept (ValueError, BaseException) as e: pass"),
        (houserules.broad_excepts, "try: f()\nexcept Exception as e:\n    raise Other from e"),
        (houserules.broad_excepts, "try: f()\nexcept* builtins.Exception: pass"),
        (houserules.broad_excepts, "with contextlib.suppress(Exception): f()"),
        (houserules.sleeps, "import time\ntime.sleep(1)"),
        (houserules.sleeps, "from time import sleep\nsleep(1)"),
        (houserules.skips, "import pytest\npytest.skip('no')"),
        (houserules.skips, "from pytest import importorskip"),
        (houserules.skips, "@pytest.mark.skip\ndef test_x(): ..."),
        (houserules.skips, "@pytest.mark.skipif(True, reason='no')\ndef test_x(): ..."),
        (houserules.skips, "@mark.xfail\ndef test_x(): ..."),
        (houserules.skips, "class T:\n    def test(self):\n        self.skipTest('no')"),
        (houserules.foreign_names, "see https://" + "py" + "pi.org/simple"),
        (houserules.foreign_names, "GOPROXY=https://proxy" + ".golang" + ".org"),
        (houserules.foreign_names, "cd /" + "root/x"),
        (houserules.foreign_names, "cd /" + "home/anna"),
        (houserules.foreign_names, "cd /" + "work/main"),
    ],
)
def test_a_bad_sample_is_found_with_its_line(rule, bad):
    findings = rule(bad)
    assert len(findings) == 1
    assert findings[0].split(":")[0].isdigit()


@pytest.mark.parametrize(
    ("rule", "good"),
    [
        (houserules.long_file, "x = 1\n" * 400),
        (houserules.long_functions, f"def f():\n    '''doc\n{COMMENTED_BODY}\n    '''\n{COMMENTED_BODY}\n"),
        (houserules.many_parameters, "class C:\n    def f(self, a, b, c, d, e, f): ..."),
        (houserules.many_parameters, "@dataclass\nclass C:\n" + "\n".join(f"    a{n}: int" for n in range(9))),
        (houserules.no_docstring, '"""What it is for."""\n'),
        (houserules.broad_excepts, "try: f()\nexcept (ValueError, OSError): pass"),
        (houserules.broad_excepts, "try: f()\nexcept BaseException:\n    undo()\n    raise"),
        (houserules.sleeps, "async def f():\n    await asyncio.sleep(0)"),
        (houserules.skips, "@pytest.mark.slow\ndef test_x(): skipped = 1"),
        (houserules.foreign_names, "leave it to the client; ~/.cache, /tmp and docs/how-to/home/x are fine"),
    ],
)
def test_a_good_sample_passes(rule, good):
    assert rule(good) == []


@pytest.mark.parametrize(
    "path",
    ["src/lockgate/utils.py", "src/lockgate/common/x.py", "src/lockgate/job/test_helpers.py", "a/store_manager.py"],
)
def test_a_module_named_after_nothing_is_found(path):
    assert houserules.nameless_module(path)


def test_a_module_named_after_its_concept_passes():
    assert houserules.nameless_module("src/lockgate/gateway/operations/states.py") == []
