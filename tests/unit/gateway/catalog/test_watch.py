import asyncio
import contextlib

import pytest
from tests.unit.gateway.catalog.catalog_texts import ACTION, TARGET, edited

from lockgate.contract.drivers import declarations
from lockgate.gateway.catalog.errors import CatalogErrors
from lockgate.gateway.catalog.model import Catalog
from lockgate.gateway.catalog.watch import CatalogHolder, follow


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "actions.yaml").write_text(ACTION)
    (tmp_path / "targets.yaml").write_text(TARGET)
    return tmp_path


def test_a_broken_file_keeps_the_old_catalog_and_says_so(directory):
    holder = CatalogHolder(directory, declarations())
    before = holder.current
    (directory / "actions.yaml").write_text(ACTION + "]")
    assert holder.changed()
    with pytest.raises(CatalogErrors, match=r"actions\.yaml:"):
        holder.reload()
    assert holder.current is before and "actions.yaml" in str(holder.last_error) and not holder.changed()


def test_a_mended_file_is_taken_and_clears_the_error(directory):
    holder = CatalogHolder(directory, declarations())
    before = holder.current.revision
    (directory / "targets.yaml").write_text("nonsense")
    with pytest.raises(CatalogErrors):
        holder.reload()
    (directory / "targets.yaml").write_text(edited(TARGET, "region: local", "region: north"))
    assert holder.changed() and holder.reload() is holder.current
    assert holder.current.revision != before and holder.last_error is None and not holder.changed()


def test_a_vanished_directory_keeps_the_old_catalog(directory, tmp_path):
    holder = CatalogHolder(directory, declarations())
    before = holder.current
    for path in directory.iterdir():
        path.unlink()
    assert holder.changed()
    with pytest.raises(CatalogErrors):
        holder.reload()
    assert holder.current is before


def test_the_first_load_of_a_broken_catalog_raises(directory):
    (directory / "more.yaml").write_text("a: [")
    with pytest.raises(CatalogErrors):
        CatalogHolder(directory, declarations())


async def test_following_reports_each_change_once(directory):
    holder = CatalogHolder(directory, declarations())
    reports: asyncio.Queue[Catalog | CatalogErrors] = asyncio.Queue()
    task = asyncio.create_task(follow(holder, 0.001, reports.put_nowait))
    (directory / "targets.yaml").write_text("nonsense")
    assert isinstance(await reports.get(), CatalogErrors)
    # Written beside and moved into place, so that the follower never sees half of it.
    (directory / "new").write_text(edited(TARGET, "region: local", "region: north"))
    (directory / "new").rename(directory / "targets.yaml")
    assert await reports.get() is holder.current
    assert reports.empty()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
