from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

import wire
from inr_core.errors import ConfigError, DataError, ParameterError
from inr_gadgets.chain import GADGETS, Chain, ChainConfig, check_parameters, gadget_class, place_parameters
from inr_gadgets.configs import parse_config
from inr_gadgets.gadget import Gadget


@pytest.fixture(autouse=True)
def no_leaked_threads() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert wire.no_threads_left(before)


def config(**properties: str) -> ChainConfig:
    return parse_config(wire.config_xml("buffer", "recon", **properties), wire.TABLE)


def readouts(n: int) -> list[Any]:
    made = [wire.acquisition(i) for i in range(n)]
    for item in made:
        item.arrived = time.monotonic()
    return made


def parameters(chain: Chain) -> tuple[Any, Any]:
    return tuple(gadget.parameters for gadget in chain.gadgets)


def test_images_come_out_and_the_threads_end() -> None:
    images = list(config().build("header").run(readouts(7)))
    assert [one.image_index for one in images] == [1, 2, 3]


def test_the_gadgets_share_header_stop_and_announce() -> None:
    chain = config().build("header")
    lines: list[str] = []
    chain.announce = lines.append
    assert chain.announce == lines.append
    assert [gadget.header for gadget in chain.gadgets] == ["header", "header"]
    list(chain.run(readouts(2)))
    assert lines == ["image 1 of 8 coils"]
    chain.stop()
    assert all(gadget.stop.is_set() for gadget in chain.gadgets)


def test_who_wins() -> None:
    given = config(recon_virtualCoils="2", recon_fail_at="3", buffer_spokes="4")
    overrides = {"recon.virtual_coils": "5", "recon.fail_at": "6"}
    first, second = parameters(given.build(None, overrides, {"virtualcoils": 7, "linger": "True"}))
    assert (first.spokes, second.virtual_coils, second.fail_at, second.linger) == (4, 7, 6, True)
    assert parameters(given.build(None))[1].virtual_coils == 2


@pytest.mark.parametrize("name", ["recon.shared_name", "Recon.SharedName", "reconsharedname", "recon_shared_name"])
def test_names_of_parameters(name: str) -> None:
    assert place_parameters({name: "x"}, wire.TABLE) == {"buffer": {}, "recon": {"shared_name": "x"}}


BAD = {
    "unknown": (
        {"coils": 3},
        "parameter 'coils' is of no gadget here; expected one of buffer.spokes, buffer.shared_name, ",
    ),
    "misspelt": ({"virtual_coil": 3}, r"'virtual_coil' is of no gadget here; .*; did you mean recon\.virtual_coils\?$"),
    "gadget": ({"image.spokes": 3}, "parameter 'image.spokes' is of no gadget here; expected one of buffer.spokes"),
    "ambiguous": (
        {"shared_name": "x"},
        "'shared_name' is of several gadgets; expected one of buffer.shared_name, recon.shared_name$",
    ),
    "twice": ({"spokes": 3, "buffer.spokes": 4}, "parameter buffer.spokes is given twice; expected once"),
    "list": ({"spokes": [3]}, r"parameter spokes = \[3\]; expected text, a number, true or false"),
    "null": ({"spokes": None}, "parameter spokes = None; expected text"),
    "type": ({"spokes": "many"}, "buffer.spokes = 'many'; expected a whole number"),
    "range": ({"virtualcoils": 65}, "recon.virtual_coils = '65'; expected a number from 1 to 64"),
}


@pytest.mark.parametrize(("flat", "expected"), BAD.values(), ids=BAD)
def test_bad_parameters(flat: dict[str, object], expected: str) -> None:
    with pytest.raises(ParameterError, match=expected):
        config().build(None, flat=flat)


def test_a_bad_property_of_the_configuration() -> None:
    with pytest.raises(ParameterError, match=r"buffer has no parameter 'spoke'; expected one of .*did you mean spokes"):
        config(buffer_spoke="2").build(None)


def test_only_the_table_s_gadgets() -> None:
    with pytest.raises(ConfigError, match="gadget 'os'; expected one of buffer, recon"):
        gadget_class("os", wire.TABLE)
    assert gadget_class("it", {"it": ("inr_gadgets.gadget", "Gadget")}) is Gadget


def test_an_error_comes_after_the_images_before_it() -> None:
    chain = config(recon_fail_at="3").build(None)
    images = []
    with pytest.raises(DataError, match="image 3 is bad"):
        for one in chain.run(readouts(20)):
            images.append(one.image_index)  # noqa: PERF401 - those before the error count
    assert images == [1, 2]
    assert chain.gadgets[0].stop.is_set()


def test_an_error_of_the_input_too() -> None:
    def items() -> Iterator[Any]:
        yield from readouts(4)
        raise DataError("no more")

    images = []
    with pytest.raises(DataError, match="no more"):
        for one in config().build(None).run(items()):
            images.append(one.image_index)  # noqa: PERF401
    assert images == [1, 2]


def test_leaving_early_interrupts_an_input_that_waits() -> None:
    woken = threading.Event()

    def items() -> Iterator[Any]:
        yield from readouts(2)
        woken.wait(10)

    chain = config().build(None)
    images = chain.run(items(), woken.set)
    assert next(images).image_index == 1
    images.close()
    assert chain.gadgets[1].stop.is_set()


def test_two_gadgets_that_work_while_idle() -> None:
    class Second(wire.Idle):
        name = "second"

    woken = threading.Event()

    def items() -> Iterator[Any]:
        yield from readouts(6)
        woken.wait(10)

    for early in (False, True):
        woken.clear()
        chain = Chain([wire.Collect(None), wire.Idle(None), Second(None)], depth=1)
        images = chain.run(items() if early else readouts(6), woken.set)
        if early:
            assert next(images).image_index == 1
            images.close()
        else:
            assert [one.image_index for one in images] == [1, 2, 3]


def test_without_a_thread_the_input_is_closed_too() -> None:
    closed = []

    def items() -> Iterator[Any]:
        try:
            yield from readouts(4)
        finally:
            closed.append(threading.current_thread())

    chain = Chain([wire.Collect(None)])
    images = chain.run(scan := items())
    assert next(images).image_index == 1
    images.close()
    assert closed == [threading.main_thread()]
    assert list(scan) == []


class Fails(wire.Collect):
    """Takes two readouts, then finds fault with the third."""

    def process(self, items: Iterable[Any]) -> Iterator[Any]:
        source = iter(items)
        yield wire.image(len([next(source), next(source)]))
        next(source)
        raise DataError("a third readout", "two")


@pytest.mark.parametrize("gadgets", [(Fails,), (Fails, wire.Idle)], ids=["one thread", "two threads"])
def test_a_failing_gadget_leaves_no_input_open_and_no_garbage(gadgets: tuple[type[Gadget], ...]) -> None:
    """The input keeps a scan's file: it is to be complete when the client is told, not when garbage is collected."""
    closed = []

    def items() -> Iterator[Any]:
        try:
            yield from readouts(5)
        finally:
            closed.append(True)

    gc.collect()
    gc.disable()
    try:
        chain = Chain([kind(None) for kind in gadgets])
        scan = items()
        with pytest.raises(DataError, match="a third readout") as caught:
            list(chain.run(scan))
        assert closed == [True]
        error = weakref.ref(caught.value)
        del caught
        assert error() is None
    finally:
        gc.enable()


def test_gadgets_that_need_no_thread_get_none() -> None:
    before = threading.active_count()

    class Look(wire.Collect):
        def process(self, items: Iterable[Any]) -> Iterator[Any]:
            assert threading.active_count() == before
            yield from super().process(items)

    assert len(list(Chain([Look(None)]).run(readouts(4)))) == 2


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            {"recon.refine_pases": "3"},
            r"parameter 'recon.refine_pases' is of no gadget here; expected one of recon.refine_passes, "
            r"(recon\.\w+, ){6}\S+ and 1\d\d others, which inr-recon methods lists; did you mean recon.refine_passes\?",
        ),
        ({"recon.refine_passes": "many"}, "recon.refine_passes = 'many'; expected a number"),
    ],
)
def test_parameters_are_checked_before_there_is_a_scan(settings: dict[str, str], line: str) -> None:
    check_parameters({"recon.refine_passes": "3", "buffer.spokes_per_frame": "13"}, GADGETS)
    with pytest.raises(ParameterError, match=line):
        check_parameters(settings, GADGETS)
