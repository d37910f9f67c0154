"""How the proxy is, in sentences: the gravest first. What can be said of it is in `findings`."""

from datetime import datetime

from proxy.top.findings import Finding, findings
from proxy.top.news import News
from proxy.top.status import Status

_GRAVITY = {"bad": 2, "warning": 1, "note": 0}


def verdict(news: News) -> list[Finding]:
    """Say how it is; there is always something to say.

    No news; what is wrong, and what else is to be known; it serves, and what else is to be known.
    """
    if news.status is None:
        told = news.trouble or f"Asking {news.url}."
        return [Finding("proxy", "bad" if news.trouble else "warning", told)]
    if news.trouble:
        since = datetime.fromtimestamp(news.heard).strftime("%H:%M:%S")
        return [Finding("proxy", "bad", f"No news since {since}: {news.trouble}. It is tried again.")]
    found = _worth_telling(news.status)
    if found and found[0].level != "note":
        return found
    if news.status.ready is False:
        return [Finding("proxy", "bad", f"The proxy is not ready: {news.status.reason}"), *found]
    return [Finding("proxy", "good", "Serving"), *found]


def _worth_telling(status: Status) -> list[Finding]:
    """Leave out that there is some trouble in a place where there is worse."""
    found = sorted(findings(status), key=lambda finding: -_GRAVITY[finding.level])
    worst: dict[str, Finding] = {}
    for finding in found:
        worst.setdefault(finding.where, finding)
    return [finding for finding in found if not finding.some or worst[finding.where] is finding]
