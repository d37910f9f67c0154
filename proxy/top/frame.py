"""A frame: what is known of the proxy, laid out for the size and the encoding of the output.

What is more important stands higher, and what does not fit is left out from below.
"""

from collections.abc import Iterator
from textwrap import wrap

from rich.console import Console, ConsoleOptions
from rich.text import Text

from proxy.top.layout import Pen, fit
from proxy.top.marks import duration
from proxy.top.news import News
from proxy.top.parts import every_part
from proxy.top.verdict import verdict

_STYLES = {"good": "bold green", "warning": "bold yellow", "bad": "bold red"}


class Frame:
    """Draw the news, wherever it is printed: as much as is seen at once, or the `whole` of it."""

    def __init__(self, news: News, *, whole: bool = False) -> None:
        self._news = news
        self._whole = whole

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """Be rendered by rich."""
        pen = Pen(options.max_width, options.encoding)
        yield Text("\n", end="").join(self._lines(pen, None if self._whole else options.size.height))

    def _lines(self, pen: Pen, height: int | None) -> list[Text]:
        lines = [self._head(pen), *self._verdict(pen)]
        if self._news.status is None:
            return lines[:height]
        parts = list(every_part(self._news.status, pen))
        for part, room in fit(parts, None if height is None else height - len(lines)):
            drawn = part.draw(pen, room)
            if self._news.trouble:  # it is no longer so
                for line in drawn:
                    line.stylize("dim")
            lines += drawn
        return lines[:height]

    def _head(self, pen: Pen) -> Text:
        """Tell what is watched and how: as much as there is room for, the most important first."""
        news, head = self._news, pen.write("").append_text(pen.write("avala-proxy", "bold"))
        manner = "gone" if news.status and news.trouble else news.manner
        for said in (*self._about(), manner, news.url, "q leaves" if news.manner or news.trouble else ""):
            if said and head.cell_len + 2 + len(said) <= pen.width:
                head.append_text(Text("  ").append_text(pen.write(said)))
        return pen.cut(head)

    def _about(self) -> Iterator[str]:
        status = self._news.status
        if status is not None:
            yield status.version
            if status.ready is not None:
                yield "ready" if status.ready else "not ready"
            yield f"up {duration(status.uptime)}"

    def _verdict(self, pen: Pen) -> Iterator[Text]:
        for finding in verdict(self._news):
            said = pen.write(finding.text).plain
            for line in wrap(said, pen.width):
                yield pen.cut(pen.write(line, _STYLES[finding.level]))
