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

_STYLES = {"ok": "bold green", "warn": "bold yellow", "bad": "bold red"}


class Frame:
    """Draw the news, wherever it is printed: as much as is seen at once, or the `whole` of it."""

    def __init__(self, news: News, *, whole: bool = False) -> None:
        self._news = news
        self._whole = whole

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """Be rendered by rich."""
        pen = Pen(options.max_width, options.encoding)
        height = None if self._whole else options.size.height
        yield Text("\n", no_wrap=True).join(self._lines(pen, height)[:height])

    def _lines(self, pen: Pen, height: int | None) -> list[Text]:
        head = [self._head(pen), *self._verdict(pen, height)]
        return head + self._body(pen, None if height is None else height - len(head))

    def _head(self, pen: Pen) -> Text:
        """Tell what is watched and how: as much as there is room for, the most important first."""
        head = pen.write("").append_text(pen.write("avala-proxy", "bold"))
        for piece in map(pen.write, filter(None, self._about())):
            if head.cell_len + 2 + piece.cell_len <= pen.width:
                head.append("  ").append_text(piece)
        return pen.cut(head)

    def _about(self) -> Iterator[str]:
        news, status = self._news, self._news.status
        gone = bool(news.trouble)
        if status is not None:
            yield status.version
            if status.ready is not None and not gone:
                yield "ready" if status.ready else "not ready"
        yield "gone" if gone else news.manner
        if status is not None:
            yield f"up {duration(status.uptime)}"
        yield news.url
        if gone or news.manner:  # it is not shown once only
            yield "q leaves"

    def _verdict(self, pen: Pen, height: int | None) -> list[Text]:
        """Write the findings out; where there is something else to see they take no more than a third."""
        lines = [
            pen.cut(pen.write(line, _STYLES.get(finding.level, "")))
            for finding in verdict(self._news)
            for line in wrap(pen.sentence(finding.text).plain, pen.width)
        ]
        if height is None or self._news.status is None:
            return lines
        hidden = len(lines) - max(2, height // 3)
        return [*lines[: -hidden - 1], pen.write(f"+{hidden + 1} more")] if hidden > 0 else lines

    def _body(self, pen: Pen, height: int | None) -> list[Text]:
        """Draw the parts; dimly, if it may no longer be so."""
        if self._news.status is None:
            return []
        fitting = fit(list(every_part(self._news.status, pen)), height)
        lines = [line for part, room in fitting for line in part.draw(pen, room)]
        if self._news.trouble:
            for line in lines:
                line.stylize("dim")
        return lines
