"""Calls one WebAssembly function of 32-bit integers many times; it must not be given a function of any other type.

`wasmtime.Func.__call__` asks for the function's type and converts every argument anew, which costs several times what a
request decision itself does. Here the type is checked once and the arguments lie ready; the call itself is the library's own.
"""

from __future__ import annotations

from ctypes import byref
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
