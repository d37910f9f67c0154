"""How the proxy is, in sentences, the worst first: its own verdict, or what to say where there is none."""

from datetime import datetime

from proxy.top.news import News
from proxy.top.status import Finding, Status


def verdict(news: News) -> list[Finding]:
    """Say how it is; there is always something to say."""
    if news.status is None:
        told = news.trouble or f"Asking {news.url}."
        return [Finding(level="bad" if news.trouble else "warn", text=told)]
    if news.trouble:
        since = datetime.fromtimestamp(news.heard).strftime("%H:%M:%S")
        return [Finding(level="bad", text=f"No news since {since}: {news.trouble}. It is tried again.")]
    if news.status.verdict is not None:
        return [news.status.verdict.headline, *news.status.verdict.also]
    return [_by_readiness(news.status)]


def _by_readiness(status: Status) -> Finding:
    """Say what can be said of an older proxy, which does not judge."""
    if status.ready is False:
        return Finding(level="bad", text=f"The proxy is not ready: {status.reason}")
    return Finding(level="ok", text="Serving")
