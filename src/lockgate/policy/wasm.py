"""One OPA policy module as an instance on wasmtime (OPA's Wasm ABI 1.3); it evaluates bytes and knows no question."""

from __future__ import annotations

import ctypes
import re
import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import orjson
import wasmtime

from lockgate.policy.builtins import BuiltinRefused, call_builtin
from lockgate.policy.builtins.values import plain, read, write
from lockgate.policy.failure import EvaluationFailed
from lockgate.policy.wasmcall import Deadline, IntegerCall, NotOfIntegers, Room

PAGE: Final = 65536
TICK_SECONDS: Final = 0.005
IDLE_SECONDS: Final = 1.0
ABI: Final = (1, 3)
_REGO_VALUE: Final = 1
_NEEDED: Final = frozenset(
    [
        "opa_eval",
        "opa_malloc",
        "opa_json_parse",
        "opa_json_dump",
        "opa_value_parse",
        "opa_value_dump",
        "builtins",
        "entrypoints",
    ]
)


class ModuleRefused(Exception):
    """The bytes are no policy module this engine can run; compile the policy again with `lockgate.policy.compile`."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one instance may use: linear memory, input and output in bytes, evaluation time in seconds."""

    memory_bytes: int = 128 << 20
    input_bytes: int = 16 << 20
    output_bytes: int = 1 << 20
    seconds: float = 0.05


class Ticker:
    """Raises the engine's epoch every TICK_SECONDS while something runs, so that a looping policy is interrupted.

    The thread sleeps when nothing has run for IDLE_SECONDS: an idle gateway wakes nobody.
    """

    def __init__(self, engine: wasmtime.Engine) -> None:
        self._engine = engine
        self._running = 0
        self._count_lock = threading.Lock()
        self._awake = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="lockgate-policy-ticker", daemon=True)
        self._thread.start()

    @staticmethod
    def ticks(seconds: float) -> int:
        """Epochs until a deadline; one more, since the current tick has partly passed."""
        return max(1, round(seconds / TICK_SECONDS)) + 1

    def __enter__(self) -> None:
        with self._count_lock:
            self._running += 1
        if not self._awake.is_set():
            self._awake.set()

    def __exit__(self, *_: object) -> None:
        with self._count_lock:
            self._running -= 1

    def close(self) -> None:
        self._closed.set()
        self._awake.set()
        self._thread.join()

    def _tick(self) -> None:
        idle = 0
        while not self._closed.is_set():
            if idle * TICK_SECONDS >= IDLE_SECONDS:
                self._awake.clear()
                if not self._running:  # one that starts after this line sets the event again
                    self._awake.wait()
                idle = 0
            self._closed.wait(TICK_SECONDS)
            self._engine.increment_epoch()
            idle = 0 if self._running else idle + 1


def _engine() -> wasmtime.Engine:
    config = wasmtime.Config()
    config.epoch_interruption = True
    return wasmtime.Engine(config)


@lru_cache(maxsize=4)
def _compiled(wasm: bytes) -> bytes:
    """A module's machine code, kept, as it costs most of a second and data changes far more often than rules. It MUST stay in memory:
    wasmtime runs what it is given back unchecked. Raises wasmtime.WasmtimeError."""
    return bytes(wasmtime.Module(_engine(), wasm).serialize())


class PolicyModule:
    """A compiled module and its engine; compiled once, shared by every instance. Each has its own engine: epochs are the engine's."""

    def __init__(self, wasm: bytes) -> None:
        """Raises ModuleRefused."""
        self.engine = _engine()
        try:
            self.module = wasmtime.Module.deserialize(self.engine, _compiled(bytes(wasm)))
        except wasmtime.WasmtimeError as error:
            raise ModuleRefused(f"no WebAssembly module: {str(error)[:200]}") from None
        names = {export.name for export in self.module.exports}
        missing = _NEEDED - names
        if missing:
            raise ModuleRefused(f"no OPA policy of ABI 1.3: it does not export {', '.join(sorted(missing))}")
        self.constants_bytes = len(wasm)
        """What its constants may at most take: OPA's compiler writes two pages into the module, however many they need."""
        self.ticker = Ticker(self.engine)

    def close(self) -> None:
        self.ticker.close()


class PolicyInstance:
    """One store with the data parsed into it once; every evaluation starts from the same heap. Not for two threads.

    After EvaluationFailed the instance may be in any state: throw it away.
    """

    def __init__(self, module: PolicyModule, data: bytes, bounds: Bounds) -> None:
        """Raises EvaluationFailed (`data` does not fit, a trap) or ModuleRefused."""
        self._bounds, self._ticker = bounds, module.ticker
        self._store = wasmtime.Store(module.engine)
        self._store.set_limits(
            memory_size=bounds.memory_bytes, memories=1, instances=1, tables=4, table_elements=100_000
        )
        self._deadline = Deadline(self._store)
        self._builtin_names: dict[int, str] = {}
        with self._running(max(bounds.seconds, 5.0)):
            self._memory = self._make_memory(module)
            self._room = Room(self._store, self._memory)
            imports = [self._host(item) for item in module.module.imports]
            exports = wasmtime.Instance(self._store, module.module, imports).exports(self._store)
            self._functions = {name: item for name, item in exports.items() if isinstance(item, wasmtime.Func)}
            version = tuple(_number(exports[f"opa_wasm_abi{part}_version"], self._store) for part in ("", "_minor"))
            if version[0] != ABI[0] or version[1] < ABI[1]:
                raise ModuleRefused(f"OPA Wasm ABI {version[0]}.{version[1]}; this engine needs {ABI[0]}.{ABI[1]}")
            self._builtin_names = {number: name for name, number in self._load_json("builtins").items()}
            self.entrypoints: dict[str, int] = self._load_json("entrypoints")
            self._data = self._parse(data)
            self._base = self._call("opa_heap_ptr_get")
        try:
            self._eval = IntegerCall(self._store, self._functions["opa_eval"], 7)
        except NotOfIntegers as other:
            raise ModuleRefused(f"no OPA policy of ABI 1.3: opa_eval {other}") from None

    @property
    def host_functions(self) -> set[str]:
        """The built-ins that the module asks its host for."""
        return set(self._builtin_names.values())

    def evaluate(self, entrypoint: str, document: bytes) -> Any:
        """The value of `entrypoint` for `document` (JSON). Raises EvaluationFailed."""
        return only_value(self.result(entrypoint, document), entrypoint)

    def result(self, entrypoint: str, document: bytes) -> bytes:
        """The result set of `entrypoint` for `document` (JSON), as the module writes it. Raises EvaluationFailed."""
        number = self.entrypoints.get(entrypoint)
        if number is None:
            raise EvaluationFailed("lockgate.engine.undefined", f"the policy has no rule {entrypoint}")
        if len(document) > self._bounds.input_bytes:
            raise EvaluationFailed("lockgate.engine.input_size")
        with self._running(self._bounds.seconds):
            self._write(self._base, document)
            heap = _aligned(self._base + len(document))
            # As a Rego value: JSON would give the members of a set in no order of their own, and OPA gives them sorted.
            result = self._eval(0, number, self._data, self._base, len(document), heap, _REGO_VALUE)
            return self._read(result, self._bounds.output_bytes)

    def _running(self, seconds: float) -> _Running:
        return _Running(self._deadline, self._ticker, seconds)

    def _make_memory(self, module: PolicyModule) -> wasmtime.Memory:
        imports = module.module.imports
        least = next((i.type.limits.min for i in imports if isinstance(i.type, wasmtime.MemoryType)), None)
        if least is None:
            raise ModuleRefused("it imports no memory, so its memory cannot be limited")
        least += -(-module.constants_bytes // PAGE)
        most = self._bounds.memory_bytes // PAGE
        if least > most:
            raise EvaluationFailed("lockgate.engine.memory", "the module alone needs more than is allowed")
        return wasmtime.Memory(self._store, wasmtime.MemoryType(wasmtime.Limits(least, None)))

    def _host(self, item: wasmtime.ImportType) -> wasmtime.Func | wasmtime.Memory:
        if item.module != "env" or item.name is None:
            raise ModuleRefused(f"it imports {item.module}.{item.name}, which is not offered")
        if item.name == "memory":
            return self._memory
        if not isinstance(item.type, wasmtime.FuncType):
            raise ModuleRefused(f"it imports {item.name}, which is not offered")
        if item.name == "opa_abort":
            return wasmtime.Func(self._store, item.type, self._abort)
        if item.name == "opa_println":
            return wasmtime.Func(self._store, item.type, _ignore)
        if item.name.startswith("opa_builtin"):
            return wasmtime.Func(self._store, item.type, self._builtin)
        raise ModuleRefused(f"it imports {item.name}, which is not offered")

    def _abort(self, address: int) -> None:
        message = bytes(self._read(address, 1024)).decode("utf-8", "replace")
        rule = "lockgate.engine.memory" if "malloc" in message else "lockgate.engine.trap"
        raise EvaluationFailed(rule, message[:200])

    def _builtin(self, number: int, _context: int, *operands: int) -> int:
        name = self._builtin_names.get(number, f"builtin {number}")
        try:
            values = [
                read(self._read(self._call("opa_value_dump", item), self._bounds.output_bytes)) for item in operands
            ]
            result = write(call_builtin(name, values))
        except (ValueError, RecursionError):
            raise BuiltinRefused(name, "its operands or its value cannot be passed on") from None
        return self._parse(result, "opa_value_parse")

    def _parse(self, document: bytes, function: str = "opa_json_parse") -> int:
        address = self._call("opa_malloc", len(document))
        self._write(address, document)
        parsed = self._call(function, address, len(document))
        if parsed == 0:
            raise EvaluationFailed("lockgate.engine.trap", "the policy module cannot parse what it is given")
        return parsed

    def _load_json(self, function: str) -> dict[str, Any]:
        value: dict[str, Any] = orjson.loads(self._read(self._call("opa_json_dump", self._call(function)), 1 << 20))
        return value

    def _call(self, function: str, *arguments: int) -> int:
        value = self._functions[function](self._store, *arguments)
        return int(value) & 0xFFFFFFFF

    def _write(self, address: int, content: bytes) -> None:
        short = address + len(content) + PAGE - self._room.size()
        if short > 0:
            try:
                self._memory.grow(self._store, -(-short // PAGE))
            except wasmtime.WasmtimeError:
                raise EvaluationFailed("lockgate.engine.memory") from None
        # Within bounds: the memory was just made to reach a page beyond the content, and it never shrinks.
        ctypes.memmove(self._room.start() + address, content, len(content))

    def _read(self, address: int, most: int) -> bytes:
        """The NUL-terminated text at `address`."""
        start = address & 0xFFFFFFFF
        memory, size = self._room.start(), self._room.size()
        chunk, parts, taken = 4096, [], 0
        while start < size and taken <= most:
            piece = ctypes.string_at(memory + start, min(chunk, size - start))
            text, end, _ = piece.partition(b"\0")
            parts.append(text)
            if end:
                return b"".join(parts)
            taken += len(piece)
            start, chunk = start + len(piece), chunk * 4
        raise EvaluationFailed("lockgate.engine.output", "is too large or does not end")


class _Running:
    """Arms the deadline and the ticker around calls into the module, and names what a trap meant."""

    def __init__(self, deadline: Deadline, ticker: Ticker, seconds: float) -> None:
        self._deadline, self._ticker, self._seconds = deadline, ticker, seconds

    def __enter__(self) -> None:
        self._ticker.__enter__()
        self._deadline(Ticker.ticks(self._seconds))

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._ticker.__exit__()
        if isinstance(error, BuiltinRefused):
            raise EvaluationFailed(error.rule, str(error)) from error
        if isinstance(error, wasmtime.Trap):
            raise EvaluationFailed(
                _RULE_OF_TRAP.get(error.trap_code, "lockgate.engine.trap"), str(error)[:200]
            ) from error
        if isinstance(error, wasmtime.WasmtimeError):
            raise EvaluationFailed("lockgate.engine.trap", str(error)[:200]) from error


_RULE_OF_TRAP: Final[dict[wasmtime.TrapCode | None, str]] = {
    wasmtime.TrapCode.INTERRUPT: "lockgate.engine.timeout",
    wasmtime.TrapCode.MEMORY_OUT_OF_BOUNDS: "lockgate.engine.memory",
    wasmtime.TrapCode.ALLOCATION_TOO_LARGE: "lockgate.engine.memory",
    wasmtime.TrapCode.STACK_OVERFLOW: "lockgate.engine.memory",
}


def only_value(text: bytes, entrypoint: str) -> Any:
    """The value in a result set of one. Raises EvaluationFailed."""
    if text == b"set()":
        raise EvaluationFailed("lockgate.engine.undefined", f"{entrypoint} is undefined")
    if text[:1] + text[-1:] != b"{}":
        raise EvaluationFailed("lockgate.engine.output", "is no result set")
    try:
        answer = _json(text[1:-1])
    except (ValueError, RecursionError):
        raise EvaluationFailed("lockgate.engine.output", "is no value") from None
    if not isinstance(answer, dict) or answer.keys() != {"result"}:
        raise EvaluationFailed("lockgate.engine.output", "is no result set")
    return answer["result"]


def _json(text: bytes) -> Any:
    """Nearly every value is JSON but for empty sets; other sets and keys that are no strings are made JSON as OPA makes them. Raises ValueError, RecursionError."""
    try:
        return orjson.loads(_EMPTY_SET.sub(_empty_array, text))
    except orjson.JSONDecodeError:
        return plain(read(text))


def _empty_array(found: re.Match[bytes]) -> bytes:
    return found["string"] or b"[]"


_EMPTY_SET: Final = re.compile(rb'(?P<string>"(?:[^"\\]|\\.)*")|set\(\)', re.DOTALL)


def _aligned(address: int) -> int:
    return (address + 7) & ~7


def _ignore(_: int) -> None:
    """A policy's prints go nowhere: they may hold arguments."""


def _number(item: Any, store: wasmtime.Store) -> int:
    value = item.value(store)
    return int(value)
