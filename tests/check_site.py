"""Whether the built site holds together: `python tests/check_site.py site`.

Each link, image, style and script within it leads to a file and, where it names one, to an element that is
there; and no page loads anything from elsewhere. `zensical build --strict` looks at links between pages only.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src"), ("source", "src")}
"""What a browser fetches by itself."""
NOT_LOADED = {"canonical", "prev", "next", "alternate"}
"""Kinds of `<link>` that are only said."""


class Page(HTMLParser):
    """What one page refers to, and what in it can be referred to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.targets: list[tuple[str, bool]] = []  # with whether it is loaded
        self.ids: set[str] = set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called by the parser."""
        values = dict(attrs)
        self.ids |= {value for name in ("id", "name") if (value := values.get(name))}
        for name in ("href", "src"):
            if value := values.get(name):
                said = tag == "link" and values.get("rel") in NOT_LOADED
                self.targets.append((value, (tag, name) in LOADED and not said))


def problems(site: Path) -> list[str]:
    """What is wrong with the site, a line for each."""
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        if path.name == "404.html":
            continue  # it is shown in place of any page, so that its links are absolute
        for target, loaded in page.targets:
            url = urlsplit(target)
            where = f"{path.relative_to(site)}: {target}"
            if url.scheme or url.netloc:
                if loaded and url.scheme != "data":
                    found.append(f"{where}: loaded from elsewhere")
                continue
            file = (path.parent / unquote(url.path)).resolve() if url.path else path
            file = file / "index.html" if file.is_dir() else file
            if not file.is_file():
                found.append(f"{where}: no such file")
            elif url.fragment and file in pages and unquote(url.fragment) not in pages[file].ids:
                found.append(f"{where}: no such place in it")
    return found if pages else [f"{site} has no pages"]


if __name__ == "__main__":
    found = problems(Path(sys.argv[1]).resolve())
    print("\n".join(found) or "the site holds together")
    sys.exit(bool(found))
