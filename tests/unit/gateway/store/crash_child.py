"""Run by the crash tests as its own process: commits without end and prints what was acknowledged. Arguments: store, tag, mode."""

import asyncio
import resource
import sys

from lockgate.gateway.store.port import Append, Done, GetEpoch, StoreError
from lockgate.gateway.store.sqlite import SqliteStore
from lockgate.testing.records import NOW, admit, entry, operation


async def commit_for_ever(path: str, tag: str) -> None:
    """Eight callers; a line per acknowledged operation, written the moment it is acknowledged."""
    store = SqliteStore(path)
    await store.migrate()
    epoch = await store.read(GetEpoch())

    async def caller(number: int) -> None:
        turn = 0
        while True:
            name = f"{tag}-{number}-{turn}"
            outcome = await store.commit(admit(operation(name), scope=name, epoch=epoch))
            assert isinstance(outcome, Done)
            sys.stdout.write(name + "\n")
            sys.stdout.flush()
            turn += 1

    await asyncio.gather(*(caller(number) for number in range(8)))


async def fill(path: str) -> None:
    """Write until the file-size limit stops it; then show that it stays stopped, and says why."""
    store = SqliteStore(path)
    await store.migrate()
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
    count = 0
    while True:
        try:
            await store.commit(Append((entry(text="x" * 20_000),), NOW))
        except StoreError as error:
            print(count, type(error).__name__, str(error).replace("\n", " "))
            break
        count += 1
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
    try:
        await store.commit(Append((entry(),), NOW))
    except StoreError as error:
        print("refused", store.failure is not None, error)
    await store.close()


asyncio.run(fill(sys.argv[1]) if sys.argv[3] == "fill" else commit_for_ever(sys.argv[1], sys.argv[2]))
