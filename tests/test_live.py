"""What running searches show: states that are kept, and the wish to stop one."""

from __future__ import annotations

import pytest

from .pack import load

pytestmark = pytest.mark.usefixtures("comfy")


def state(node: str, now: str = "searching") -> dict:
    return {"node": node, "state": now}


def test_the_newest_states_stay_and_the_oldest_are_forgotten() -> None:
    live = load("nodes.live").Live(most=2)
    for node in ("1", "2", "3"):
        live.update(state(node))
    assert [s["node"] for s in live.states()] == ["2", "3"]


def test_only_a_running_search_can_be_stopped_and_the_next_one_is_not() -> None:
    live = load("nodes.live").Live()
    assert not live.stop("1")
    live.update(state("1"))
    assert live.stop("1") and live.wanted_stop("1")
    live.update(state("1", "stopped"))
    assert not live.stop("1")
    live.begin("1")
    assert not live.wanted_stop("1")


def test_pictures_have_versions() -> None:
    live = load("nodes.live").Live()
    live.update(state("1"))
    assert live.picture("1", "now") is None
    assert [live.show("1", "now", b"a"), live.show("1", "now", b"b")] == [1, 2]
    assert live.picture("1", "now") == b"b"
    assert live.versions("1") == {"now": 2, "reference": 0}
