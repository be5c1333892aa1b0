"""Images as they lie in bytes: what the library writes, for which nothing has to wait."""

from __future__ import annotations

from typing import Any

import ismrmrd
import numpy as np
import pytest

from inr_gadgets.meta_xml import meta_xml
from inr_gadgets.wire.messages import MessageId
from inr_gadgets.wire.wire_format import serialise


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"a": 1, "b": ["x", 2.5, ""], "empty": "", "none": None, "no values": [], "pair": (1, 2)},
        {"signs": "<&>\"'", "&<name>": ["]]>", "a\r\n\tb"], "umlaut": "\u00fc\u6f22", "half a pair": "\ud800"},
    ],
)
def test_attributes_are_those_of_the_library(attributes: dict[str, Any]) -> None:
    meta = ismrmrd.Meta(attributes)
    assert meta_xml(meta) == meta.serialize().encode()


@pytest.mark.parametrize("kind", [np.uint16, np.float32, np.complex64])
def test_an_image_is_that_of_the_library(kind: type) -> None:
    image = ismrmrd.Image.from_array(np.arange(12).reshape(3, 4).astype(kind), transpose=False)
    image.meta = ismrmrd.Meta({"name": ["\u00fc", "<"]})
    image.image_index = 7
    assert serialise(image) == MessageId.IMAGE.to_bytes(2, "little") + image.to_bytes()
