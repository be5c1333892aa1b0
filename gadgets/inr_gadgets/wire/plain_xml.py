"""XML that came from elsewhere, looked through before anything is made of it: data only, and not too much of it."""

from __future__ import annotations

from xml.parsers import expat

from inr_core.errors import InrError

MOST_ELEMENTS = 50_000  # with their attributes; a header of many encodings has some thousands
DEEPEST = 64  # of elements within elements; ISMRMRD's have ten


def check_xml(text: str, what: str, kind: type[InrError]) -> None:
    """Refuse a document type, with which alone there are entities, and more elements than a scan could need.

    Text that is no XML at all passes: who parses it says so better.

    Parameters
    ----------
    text
        The document. An encoding that it declares is ignored, here as by whoever parses text.
    what
        What it is, for the message: ``"a header"``.
    kind
        The error to raise.
    """
    # Told the encoding, it does not follow a declaration into one that hides what is looked for.
    parser = expat.ParserCreate(encoding="UTF-8")
    count = depth = 0

    def refuse_doctype(*_: object) -> None:
        raise kind(f"{what} with a DOCTYPE", "XML without document type and entities", "remove the declaration")

    def start(name: str, attributes: list[str]) -> None:
        nonlocal count, depth
        count += 1 + len(attributes) // 2
        depth += 1
        if count > MOST_ELEMENTS:
            raise kind(f"{what} with more than {MOST_ELEMENTS} elements", "fewer")
        if depth > DEEPEST:
            raise kind(f"{what} whose elements are nested more than {DEEPEST} deep", "a flatter one")

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1

    parser.ordered_attributes = True
    parser.StartDoctypeDeclHandler = refuse_doctype
    parser.StartElementHandler, parser.EndElementHandler = start, end
    try:
        parser.Parse(text.encode(), True)
    except (expat.ExpatError, UnicodeEncodeError):
        return
