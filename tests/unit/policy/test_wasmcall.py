"""The quick calls say what wasmtime's own say: the same results, the same errors."""

import ctypes

import pytest
import wasmtime

from lockgate.policy.wasmcall import Deadline, IntegerCall, NotOfIntegers, Room

MODULE = """
(module
  (import "env" "host" (func $host (param i32) (result i32)))
  (func (export "subtract") (param i32 i32) (result i32) local.get 0 local.get 1 i32.sub)
  (func (export "ask_host") (param i32 i32) (result i32) local.get 0 call $host)
  (func (export "trap") (param i32 i32) (result i32) unreachable)
  (func (export "long") (param i32 i64) (result i32) local.get 0)
  (func (export "silent") (param i32 i32)))
"""


class HostFailed(Exception):
    """What the host function raises."""


@pytest.fixture
def exported():
    store = wasmtime.Store()

    def host(value: int) -> int:
        if value < 0:
            raise HostFailed(value)
        return value * 2

    i32 = wasmtime.ValType.i32()
    function = wasmtime.Func(store, wasmtime.FuncType([i32], [i32]), host)
    module = wasmtime.Module(store.engine, wasmtime.wat2wasm(MODULE))  # type: ignore[arg-type]
    exports = wasmtime.Instance(store, module, [function]).exports(store)
    return lambda name: (store, exports[name])


@pytest.mark.parametrize("values", [(7, 5), (0, 0), (5, 7), (2**31 - 1, -1), (-(2**31), 1)])
def test_it_answers_as_the_library_s_own_call_but_unsigned(exported, values):
    store, function = exported("subtract")
    assert IntegerCall(store, function, 2)(*values) == function(store, *values) & 0xFFFFFFFF


def test_one_call_leaves_nothing_for_the_next(exported):
    call = IntegerCall(*exported("subtract"), 2)  # type: ignore[call-arg]
    assert [call(9, 1), call(1, 1), call(9, 2)] == [8, 0, 7]


def test_a_trap_is_the_library_s_trap(exported):
    call = IntegerCall(*exported("trap"), 2)  # type: ignore[call-arg]
    with pytest.raises(wasmtime.Trap) as raised:
        call(1, 2)
    assert raised.value.trap_code is wasmtime.TrapCode.UNREACHABLE


def test_what_a_host_function_raises_comes_out_and_the_next_call_is_well(exported):
    call = IntegerCall(*exported("ask_host"), 2)  # type: ignore[call-arg]
    with pytest.raises(HostFailed):
        call(-1, 0)
    assert call(21, 0) == 42


@pytest.mark.parametrize("name", ["long", "silent"])
def test_a_function_of_anything_else_is_refused(exported, name):
    with pytest.raises(NotOfIntegers):
        IntegerCall(*exported(name), 2)  # type: ignore[call-arg]


def test_the_number_of_arguments_is_held(exported):
    store, function = exported("subtract")
    with pytest.raises(NotOfIntegers):
        IntegerCall(store, function, 3)
    with pytest.raises(NotOfIntegers):
        IntegerCall(store, function, 2)(1)


def test_where_a_memory_lies_is_said_as_the_library_says_it_before_and_after_it_grew():
    store = wasmtime.Store()
    memory = wasmtime.Memory(store, wasmtime.MemoryType(wasmtime.Limits(1, None)))
    room = Room(store, memory)
    for _ in range(3):
        assert room.size() == memory.data_len(store)
        assert room.start() == ctypes.addressof(memory.data_ptr(store).contents)
        memory.grow(store, 700)


def test_a_deadline_is_the_librarys_deadline():
    config = wasmtime.Config()
    config.epoch_interruption = True
    store = wasmtime.Store(wasmtime.Engine(config))
    text = '(module (func (export "run") (result i32) i32.const 7))'
    module = wasmtime.Module(store.engine, wasmtime.wat2wasm(text))  # type: ignore[arg-type]
    deadline = Deadline(store)
    deadline(2)
    run = wasmtime.Instance(store, module, []).exports(store)["run"]
    assert isinstance(run, wasmtime.Func)
    store.engine.increment_epoch()
    assert run(store) == 7
    store.engine.increment_epoch()
    with pytest.raises(wasmtime.Trap) as caught:
        run(store)
    assert caught.value.trap_code == wasmtime.TrapCode.INTERRUPT
    deadline(1)
    assert run(store) == 7
