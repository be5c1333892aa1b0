"""A session between two pipes, for the tests of standard streams."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import wire
from inr_gadgets.serving.session import Session, SessionSettings
from inr_gadgets.wire.connection import MessageStream
from inr_gadgets.wire.pipes import PipePair, PipeStream


class Pipes:
    """A session between two pipes, in a thread, with our end of each."""

    def __init__(self, speak: Callable[[PipePair], PipeStream] = PipeStream, **settings: object) -> None:
        source, self.feed = os.pipe()
        self.result, sink = os.pipe()
        session = Session(speak(PipePair(source, sink)), "stdin", SessionSettings(table=wire.TABLE, **settings))
        self.session = session
        self.thread = threading.Thread(target=session.run)
        self.thread.start()
        self.reader = MessageStream(PipePair(self.result, self.feed))

    def write(self, raw: bytes) -> None:
        while raw:
            raw = raw[os.write(self.feed, raw) :]

    def end(self) -> bool:
        self.thread.join(20)
        return self.session.done

    def leave(self, *names: str) -> None:
        """Close our ends, once."""
        for name in names or ("feed", "result"):
            if (descriptor := getattr(self, name)) >= 0:
                os.close(descriptor)
                setattr(self, name, -1)

    def close(self) -> None:
        self.leave()
        self.thread.join(20)
