"""What Atheris calls with bytes: the decoders, the readers of header, configuration and JSON, and the buffer gadget.

python benchmarks/fuzz_decode.py [-runs=100000] [options of libFuzzer] [CORPUS]

Only an InrError may come out of them. fuzz.py runs this; by itself it goes on until it is interrupted.
"""

from __future__ import annotations

import logging
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["inr_gadgets", "ismrmrd.meta", "gadgetron.external.readers"]):
    from inr_gadgets.buffering.buffer import BufferGadget
    from inr_gadgets.chain import GADGETS, gadget_class, place_parameters
    from inr_gadgets.header import encoding, noise_bandwidth, refuse_large
    from inr_gadgets.serving.request import Request
    from inr_gadgets.wire.connection import Connection
    from inr_gadgets.wire.limits import ServerLimits
    from inr_gadgets.wire.messages import Message

from mutations import recording

from inr_core.errors import InrError

_CLASSES = {target: gadget_class(target) for target in GADGETS}
# What a configuration, a header and the protocol are made of: bytes at random do not come upon them.
_WORDS = [
    *(rb"\x01\x00", rb"\x02\x00", rb"\x03\x00", rb"\x04\x00", rb"\x05\x00", rb"\x06\x00", rb"\xf0\x03", rb"\xfe\x03"),
    *(rb"\xff\x03", rb"\x02\x04", "<encoding>", "<matrixSize>", "<x>", "</x>", "<!DOCTYPE a [", "<!ENTITY b", "&b;"),
    *("<property name=", "<configuration>", "<stream>", "<external>", "<execute name=", "parameters", "spokesperframe"),
]


def one_input(data: bytes) -> None:
    """Read a stream as a session does, up to the frames."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        ours.sendall(data)
        ours.close()
        connection, request = Connection(theirs, ServerLimits()), Request()
        try:
            _converse(connection, request)
        except InrError:
            return


def _converse(connection: Connection, request: Request) -> None:
    gadget: BufferGadget | None = None
    items: list[Any] = []
    for message in connection:
        if request.take(message):
            continue
        if gadget is None:
            gadget = _prepare(request)
        if not isinstance(message, Message):
            items.append(message)
    if gadget is not None:
        for _ in gadget.process(items):
            pass


def _prepare(request: Request) -> BufferGadget:
    """What comes before the data: configuration, header, parameters."""
    request.check_complete("data")
    header = request.header
    refuse_large(header, 1024)
    for index in range(len(header.encoding or [])):
        encoding(header, index)
    noise_bandwidth(header)
    request.chain_config(GADGETS)
    placed = place_parameters(request.settings(), _CLASSES)
    for target, values in placed.items():
        _CLASSES[target].read_parameters(values)
    return BufferGadget(header, BufferGadget.read_parameters(placed["buffer"]))


def main() -> None:
    """Hand over to libFuzzer; the corpus begins with the recorded scan and its parts."""
    logging.disable(logging.CRITICAL)
    folder = Path(sys.argv[-1]) if not sys.argv[-1].startswith("-") and len(sys.argv) > 1 else None
    corpus = folder or Path(tempfile.mkdtemp(prefix="inr-fuzz-"))
    messages = recording()
    seeds = [b"".join(messages), b"".join([*messages[:5], messages[-1]]), messages[1], messages[2], messages[5]]
    for number, seed in enumerate(seeds):
        (corpus / f"seed{number}").write_bytes(seed)
    words = corpus.parent / f"{corpus.name}.dict"
    words.write_text("\n".join(f'"{word if isinstance(word, str) else word.decode()}"' for word in _WORDS) + "\n")
    options = [argument for argument in sys.argv[1:] if argument.startswith("-")]
    atheris.Setup([sys.argv[0], f"-dict={words}", *options, str(corpus)], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
