"""What of a result is for a model."""

from __future__ import annotations

import base64
from typing import Any

import mcp_types as types
import pytest

from trio_mcp.agents.contents import NOTHING, Media, contents, joined, take

from .helpers import PDF, PNG, blob, image, result, text


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def test_texts_links_and_resources_are_texts() -> None:
    link = types.ResourceLink(name="readme", uri="file:///README", mime_type="text/plain")
    resource = types.EmbeddedResource(resource=types.TextResourceContents(uri="file:///a", text="inside"))
    found = contents(result("hello", link, resource, blob(encoded(b"{}"), "application/json")))
    assert found == [
        "hello",
        "[link to a resource: readme, <file:///README>, text/plain]",
        "[resource <file:///a>]\ninside",
        "[resource <file:///a/b>]\n{}",
    ]


def test_what_is_not_for_the_model_and_what_is_empty_is_left_out() -> None:
    for_user = text("for the user", annotations=types.Annotations(audience=["user"]))
    for_both = text("for both", annotations=types.Annotations(audience=["user", "assistant"]))
    no_audience = text("for all", annotations=types.Annotations(priority=1))
    assert contents(result(for_user, for_both, no_audience, "", " \n")) == ["for both", "for all"]


@pytest.mark.parametrize(
    ("start", "mime_type"),
    [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"GIF87a", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"%PDF-1.4", "application/pdf"),
    ],
)
def test_media_are_what_their_bytes_say(start: bytes, mime_type: str) -> None:
    data = encoded(start)
    assert contents(result(blob(data, "image/png"))) == [Media(mime_type, data, "file:///a/b")]
    assert contents(result(blob(data))) == [Media(mime_type, data, "file:///a/b")]


@pytest.mark.parametrize(
    ("block", "why"),
    [
        (image("no base64"), "[image: image/png, left out: it is not valid base64]"),
        (image("grün"), "[image: image/png, left out: it is not valid base64]"),
        (image(encoded(b"<svg/>")), "[image: left out: it is said to be image/png, and is not]"),
        (
            image(encoded(b"RIFF"), "image/WEBP; q=1"),
            "[image: left out: it is said to be image/webp, and is not]",
        ),
    ],
)
def test_what_would_be_refused_becomes_a_text(block: types.ImageContent, why: str) -> None:
    assert contents(result(block)) == [why]


def test_media_that_an_api_does_not_take_become_texts() -> None:
    sound = types.AudioContent(data=encoded(b"12345"), mime_type="audio/wav")
    parts = contents(result(image(), sound, blob(encoded(b"\xff"), "text/plain")))
    assert take(parts, ["image/png"]) == [
        Media("image/png", PNG, "image"),
        "[audio: audio/wav, 5 bytes, left out: it cannot be shown to you]",
        "[file:///a/b: text/plain, 1 bytes, left out: it cannot be shown to you]",
    ]
    assert joined(parts).startswith(
        "[image: image/png, 11 bytes, left out: it cannot be shown to you]\n\n[audio"
    )


def test_nothing_is_said_to_be_nothing() -> None:
    assert take(contents(result()), []) == [NOTHING]
    assert joined(contents(result(""))) == NOTHING


@pytest.mark.parametrize(
    ("texts", "structured"),
    [
        (['{"a": 1}'], {"a": 1}),
        (["Found:", '{ "a": [1, 2] }'], {"a": [1, 2]}),
        (["3"], {"result": 3}),
        (["three"], {"result": "three"}),
        (["3"], {"result": "3"}),
        (["[1, 2]"], {"result": [1, 2]}),
        (["1", '{"b": 2}'], {"result": [1, {"b": 2}]}),
        (["one", "2"], {"result": ["one", "2"]}),
        (["true"], {"result": True}),
        (["[1]"], [1]),
    ],
)
def test_structured_content_is_not_said_twice(texts: list[str], structured: Any) -> None:
    assert contents(result(*texts, structured_content=structured)) == texts


@pytest.mark.parametrize(
    ("texts", "structured", "json"),
    [
        ([], {"a": "ü"}, '{"a":"ü"}'),
        (["One was found."], {"a": 1}, '{"a":1}'),
        (["{broken"], {"a": 1}, '{"a":1}'),
        (["1"], {"result": [1, 2]}, '{"result":[1,2]}'),
        ([], 0, "0"),
    ],
)
def test_structured_content_that_the_texts_do_not_say_comes_last(
    texts: list[str], structured: Any, json: str
) -> None:
    assert contents(result(*texts, structured_content=structured)) == [*texts, json]


def test_no_structured_content_is_none() -> None:
    assert contents(result("x", structured_content=None)) == ["x"]


@pytest.mark.parametrize(
    ("name", "file_name"),
    [("file:///a/report.pdf", "report.pdf"), ("x://a/b", "b.pdf"), ("x://a/", "file.pdf")],
)
def test_a_file_has_a_name_with_its_ending(name: str, file_name: str) -> None:
    assert Media("application/pdf", PDF, name).file_name == file_name
