"""Smaller batches where a device is short of memory."""

from __future__ import annotations

import threading

from inr_core.batches import at_once, smaller_batches


def test_a_part_of_the_usual_and_one_at_least() -> None:
    assert at_once(6) == 6
    with smaller_batches(0.5):
        assert at_once(6) == 3
        with smaller_batches(0.25):
            assert at_once(6) == 1
        assert at_once(6) == 3
    assert at_once(6) == 6
    assert at_once(0) == 1


def test_other_threads_keep_theirs() -> None:
    seen: list[int] = []
    with smaller_batches(0.5):
        thread = threading.Thread(target=lambda: seen.append(at_once(6)))
        thread.start()
        thread.join()
    assert seen == [6]
