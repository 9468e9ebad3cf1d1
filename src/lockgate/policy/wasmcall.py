"""The few calls of wasmtime that every decision makes, at less than what its own Python costs; it must not change what they do.

`wasmtime.Func.__call__` asks for the function's type and converts every argument anew, which costs several times what a
request decision itself does. Here the type is checked once and the arguments lie ready; the call itself is the library's own.
And ctypes gives the interpreter lock away for every call, to be won back from whoever took it meanwhile: worth it for an evaluation,
not for what returns at once.
"""

from __future__ import annotations

from ctypes import PyDLL, byref, c_size_t, c_uint64, c_void_p
from typing import Any, Final

import wasmtime
from wasmtime import _ffi, _func

_I32: Final = "i32"


class NotOfIntegers(TypeError):
    """The function takes or gives something else than 32-bit integers."""


class IntegerCall:
    """`count` integers in, one out. Not for two threads, nor from within itself: the arguments have one place."""

    def __init__(self, store: wasmtime.Store, function: wasmtime.Func, count: int) -> None:
        """Raises NotOfIntegers."""
        kind = function.type(store)
        if [str(item) for item in kind.params] != [_I32] * count or [str(item) for item in kind.results] != [_I32]:
            raise NotOfIntegers(f"must take {count} and give one 32-bit integer, not {kind.params} and {kind.results}")
        self._store, self._function, self._count = store, function, count
        ffi: Any = _ffi
        self._arguments = (ffi.wasmtime_val_t * count)()
        self._result = (ffi.wasmtime_val_t * 1)()
        for place in self._arguments:
            place.kind = ffi.WASMTIME_I32.value
        self._call = ffi.wasmtime_func_call

    def __call__(self, *values: int) -> int:
        """The result as an unsigned 32-bit integer. Raises what `wasmtime.Func.__call__` raises, and what a host function raised."""
        if len(values) != self._count:
            raise NotOfIntegers(f"takes {self._count} integers, not {len(values)}")
        for place, value in zip(self._arguments, values, strict=True):
            place.of.i32 = value
        context = self._store._context()
        function: Any = self._function._func
        with _func.enter_wasm(self._store) as trap:
            error = self._call(context, byref(function), self._arguments, self._count, self._result, 1, trap)
            if error:
                raise wasmtime.WasmtimeError._from_ptr(error)
        return int(self._result[0].of.i32) & 0xFFFFFFFF


_FFI: Final[Any] = _ffi
_LOCKED: Final = PyDLL(_FFI.dll._name)
"""The same library, called with the interpreter lock held: only for what returns at once and calls nobody back."""

_set_epoch_deadline: Final = _LOCKED.wasmtime_context_set_epoch_deadline
_set_epoch_deadline.argtypes, _set_epoch_deadline.restype = [c_void_p, c_uint64], None
_memory_data: Final = _LOCKED.wasmtime_memory_data
_memory_data.argtypes, _memory_data.restype = [c_void_p, c_void_p], c_void_p
_memory_size: Final = _LOCKED.wasmtime_memory_data_size
_memory_size.argtypes, _memory_size.restype = [c_void_p, c_void_p], c_size_t


class Deadline:
    """Sets a store's epoch deadline, as `wasmtime.Store.set_epoch_deadline` does."""

    def __init__(self, store: wasmtime.Store) -> None:
        self._store = store

    def __call__(self, ticks: int) -> None:
        """In `ticks` of the engine's epoch from now."""
        _set_epoch_deadline(self._store._context(), ticks)


class Room:
    """Where a memory lies in ours and how large it is, as `wasmtime.Memory.data_ptr` and `data_len` say. Both change when it grows."""

    def __init__(self, store: wasmtime.Store, memory: wasmtime.Memory) -> None:
        self._store, self._memory = store, memory
        self._place = byref(memory._memory)

    def start(self) -> int:
        """The address of its first byte."""
        return int(_memory_data(self._store._context(), self._place))

    def size(self) -> int:
        """Bytes."""
        return int(_memory_size(self._store._context(), self._place))
