"""JSON as hosts read it: with comments and trailing commas, and strict in everything else (RFC 8259)."""

from __future__ import annotations

import codecs
import json
import re
from typing import Final

from .places import Place, shortened

__all__ = ["MAX_BYTES", "MAX_DEPTH", "parse_json"]

MAX_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 50

_PIECE: Final = re.compile(
    r"""  "(?:[^"\\\r\n]|\\.)*+"     # a string
        | //[^\r\n]* | /\*.*?\*/     # a comment
        | [{}\[\],]
        | [^"/{}\[\],]+              # white space, colons, numbers, words
        | .                          # what cannot be there: a string or a comment without an end, a slash
    """,
    re.DOTALL | re.VERBOSE,
)
_NOT_BLANK: Final = re.compile(r"[^\r\n]")
_NO_NUMBER: Final = re.compile(r"NaN|-?Infinity")
_OTHER_CODINGS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def parse_json(content: bytes, place: Place) -> object:
    """The value that `content` is, a text in UTF-8, which may begin with a byte order mark.

    Raises:
        ConfigurationError: it is not JSON, an object has a key twice, or it is deeper than any
            configuration (50 levels). The error names the line.
    """
    if content.startswith(_OTHER_CODINGS):
        raise place.error("it is UTF-16; save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line, where = content.count(b"\n", 0, exc.start) + 1, exc.start
    else:
        return _parse(_to_plain_json(text, place), place)
    # Not within the `except`: its exception holds the whole text, secrets and all.
    raise place.error(f"line {line}: it is not UTF-8 (byte {where})")


def _parse(text: str, place: Place) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as exc:
        problem = f"line {exc.lineno}, column {exc.colno}: it is not JSON: {exc.msg[:1].lower()}{exc.msg[1:]}"
    except ValueError:
        problem = "a number in it has too many digits"
    raise place.error(problem)


def _to_plain_json(text: str, place: Place) -> str:
    """`text` with blanks for comments and trailing commas: what is left stands where it stood."""
    pieces: list[str] = []
    keys: list[set[str]] = []  # of the objects around, and an empty set for each list
    before, last, comma = "", "", 0  # the last two pieces that count, and where the last comma is
    line = 1
    for match in _PIECE.finditer(text):
        piece = match[0]
        if piece[0] not in '"/' and (number := _NO_NUMBER.search(piece)):
            line += piece.count("\n", 0, number.start())
            raise place.error(f"line {line}: it is not JSON: there are no numbers NaN and Infinity")
        at = f"line {line}"
        line += piece.count("\n")
        if piece.startswith(("//", "/*")):
            pieces.append(_NOT_BLANK.sub(" ", piece))
            continue
        if piece in ('"', "/"):
            what = "a string has no end" if piece == '"' else "a comment has no end, or something is amiss"
            raise place.error(f"{at}: it is not JSON: {what}")
        pieces.append(piece)
        if not (told := piece.strip(" \t\r\n")):
            continue
        if told in ("{", "["):
            keys.append(set())
            if len(keys) > MAX_DEPTH:
                raise place.error(f"{at}: more than {MAX_DEPTH} levels deep, which no configuration is")
        elif told in ("}", "]"):
            del keys[-1:]
            if last == "," and before not in ("", "{", "[", ","):
                pieces[comma] = " "
        elif told == ",":
            comma = len(pieces) - 1
        elif told.startswith(":") and last.startswith('"') and keys:
            _note(keys[-1], last, place, at)
        before, last = last, told
    return "".join(pieces)


def _note(known: set[str], quoted: str, place: Place, at: str) -> None:
    try:
        key = json.loads(quoted)
    except ValueError:
        return  # which is found again, with its column
    if key in known:
        raise place.error(f"{at}: the key {shortened(key)} is there twice")
    known.add(key)
