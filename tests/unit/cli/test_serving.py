"""What a server loaded to get ready is not looked through for garbage again, and garbage of calls still is."""

import subprocess
import sys

PROGRAM = """
import gc, weakref
from lockgate.cli.serving import COLLECT_AFTER, settle
settle()
assert gc.get_freeze_count() > 1_000 and gc.get_threshold() == COLLECT_AFTER and gc.isenabled()
class Node: pass
node = Node(); node.me = node
gone = weakref.ref(node)
del node
kept = [[] for _ in range(COLLECT_AFTER[0] + 1_000)]
assert gone() is None, "a cycle of after the start is still collected by itself"
"""


def test_the_start_is_settled_and_later_cycles_are_collected() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
