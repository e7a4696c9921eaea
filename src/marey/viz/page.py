"""The frame of every HTML page: one file that opens from disk, without a network and without anybody else's scripts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from html import escape
from importlib import resources
from string import Template

from marey._version import __version__

STATIC = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""What a page without scripts may load: nothing but what is in it."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """What a page shows; all but the title is HTML already."""

    title: str
    """Plain text."""
    mark: str
    """What kind of page it is, over the title."""
    lead: str
    facts: str
    """`<div>` elements of terms and descriptions."""
    cards: str
    """List items with the numbers that matter most."""
    cards_label: str
    content: str
    styles: str = ""
    """After those that all pages share."""
    policy: str = STATIC
    """Of what the browser may load and run."""
    alert: str = ""
    """Below the facts."""

    def parts(self, now: datetime | None = None) -> tuple[str, str]:
        """The text before and after what may follow the footer, such as data and scripts."""
        now = now or datetime.now(UTC)
        texts = {
            **{name: getattr(self, name) for name in ("mark", "lead", "facts", "cards", "cards_label", "content")},
            "title": escape(self.title),
            "styles": asset("marey.viz", "assets/report.css") + self.styles,
            "policy": self.policy,
            "alert": self.alert,
            "version": __version__,
            "footer": f"Written by marey {__version__} on {now:%Y-%m-%d} at {now:%H:%M} UTC.",
        }
        before, after = asset("marey.viz", "page.html").split("$tail")
        return Template(before).substitute(texts), after


@cache
def asset(package: str, name: str) -> str:
    """The text of a file in a package."""
    return (resources.files(package) / name).read_text(encoding="utf-8")
