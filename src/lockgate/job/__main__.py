"""`python -m lockgate.job`: what the runner starts inside a sandbox; it must hold no logic, and import cheaply: `ready` waits for it.

What stands here runs before the job's own imports, which make up most of its start.
"""

from __future__ import annotations

import gc
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
else:
    ModuleType = type(sys)  # importing `types` for it would read a file


def main() -> int:
    """Run the job; exit codes as `lockgate.job.main.main`."""
    gc.disable()  # nothing that an import makes is garbage: looking through it costs a tenth of the start
    load_when_used("inspect")
    from lockgate.job.main import main as run

    gc.enable()
    return run()


def load_when_used(name: str) -> None:
    """Let a module of the standard library load at its first use instead of its first import; one that is loaded already stays.

    `dataclasses` imports `inspect` and what that drags along, a fifth of the job's start, only for classes without a docstring.
    """
    sys.modules.setdefault(name, _Later(name))


class _Later(ModuleType):
    """Stands for a module until anything is asked of it. (importlib.util.LazyLoader's loads as soon as a second `import` meets it.)"""

    def __getattr__(self, attribute: str) -> object:
        name = self.__name__
        if sys.modules.get(name) is self:
            del sys.modules[name]
            __import__(name)
        return getattr(sys.modules[name], attribute)


if __name__ == "__main__":
    raise SystemExit(main())
