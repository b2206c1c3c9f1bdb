"""What a browser would make of a page, as far as tests need it, and a text that tries to be part of one."""

from __future__ import annotations

import html.parser

EVIL = (
    "</script><script>alert(1)</script><!-- <img src=x onerror=alert(1)> {{script}} &lt; \x1b[31m [red]\u2028"
)


class Page(html.parser.HTMLParser):
    """The elements of a page, and the text of its scripts, style and title."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in ("script", "style", "title"):
            self.texts.append((self._inside, data))

    def handle_comment(self, data: str) -> None:
        self.tags.append(("comment", {}))

    def text_of(self, tag: str, n: int = 0) -> str:
        return [text for name, text in self.texts if name == tag][n]
