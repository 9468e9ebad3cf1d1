"""The look at teardown, held against things that are really still there: it says so, keeps the marker, and says gone only once they are."""

import subprocess
from pathlib import Path

import pytest

from lockgate.runner.egress.spawn import bound_socket
from lockgate.runner.sandbox.processes import Traces
from lockgate.runner.sandbox.rundir import Marker, RunDirectory
from lockgate.runner.sandbox.teardown import Remains, proof

ID = "ab" * 16


@pytest.fixture
def runs(tmp_path):
    made = RunDirectory(tmp_path)
    made.write(Marker(ID, "boot", None))
    return made


def looked(remains: Remains, runs: RunDirectory):
    return proof(ID, remains.check(runs), 0, 0)


def test_a_process_that_got_away_is_seen_and_its_marker_is_kept(runs):
    with subprocess.Popen(["/bin/sleep", "600"], start_new_session=True) as survivor:
        remains = Remains(ID, traces=Traces(session=survivor.pid))
        try:
            shown = looked(remains, runs)
            assert (shown.torn_down, shown.checks["processes"], shown.checks["directory"]) == (False, False, False)
            assert runs.ids() == [ID]
            remains.kill()
        finally:
            survivor.kill()
    assert looked(remains, runs).torn_down
    assert runs.ids() == []


def test_a_proxy_that_still_listens_is_seen_and_its_name_is_gone_all_the_same(runs):
    place = runs.socket(ID)
    with bound_socket(place, None) as listener:
        remains = Remains(ID, egress_inode=Path(f"/proc/self/fd/{listener.fileno()}").stat().st_ino)
        shown = looked(remains, runs)
        assert (shown.torn_down, shown.checks["egress"]) == (False, False)
        assert not place.exists()
    assert looked(remains, runs).torn_down


def test_a_socket_of_a_dead_launchers_proxy_is_removed_and_looked_at(runs):
    bound_socket(runs.socket(ID), None).close()
    assert runs.socket(ID).exists()
    shown = looked(Remains(ID), runs)
    assert shown.torn_down and shown.checks["egress"]
    assert not runs.socket(ID).exists()


def test_the_last_look_says_of_the_socket_what_an_earlier_one_took_away(runs):
    bound_socket(runs.socket(ID), None).close()
    with subprocess.Popen(["/bin/sleep", "600"], start_new_session=True) as survivor:
        remains = Remains(ID, traces=Traces(session=survivor.pid))
        assert not looked(remains, runs).torn_down
        assert not runs.socket(ID).exists()
        survivor.kill()
    shown = looked(remains, runs)
    assert shown.torn_down and shown.checks["egress"]


def test_only_its_own_uid_may_connect_to_a_proxys_socket(runs):
    with bound_socket(runs.socket(ID), None):
        assert runs.socket(ID).stat().st_mode & 0o777 == 0o600
