"""A real browser without a window, which sees pages as people do."""

import base64
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.wait import WebDriverWait

_ROOT = Path(__file__).parents[2]
_AXE = _ROOT / ".venv/npm/node_modules/axe-core/axe.min.js"
_SHOTS = _ROOT / "build/screenshots"
_SOON = 20.0
"""Seconds in which a page on this machine does anything."""

_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium(profile: Path) -> Iterator["Browser"]:
    """Have a new Chromium with an empty profile; skips the test where there is none."""
    program, driver = (shutil.which(name) for name in ("chromium", "chromedriver"))
    if program is None or driver is None:
        pytest.skip(f"{'chromedriver' if program else 'chromium'} is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options=options, service=Service(executable_path=driver))
    try:
        yield Browser(chrome)
    finally:
        chrome.quit()


class Browser:
    """One tab of it."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def cdp(self, command: str, **arguments: Any) -> Any:
        """Tell the browser something that no page can."""
        return self.driver.execute_cdp_cmd(command, arguments)

    def look(self, width: int, *, height: int = 900, dark: bool = False, still: bool = True) -> None:
        """Have a screen of this size, and these wishes."""
        self.cdp(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.cdp("Emulation.setScrollbarsHidden", hidden=True)
        wishes = {"prefers-color-scheme": dark, "prefers-reduced-motion": still}
        values = {
            "prefers-color-scheme": ("light", "dark"),
            "prefers-reduced-motion": ("no-preference", "reduce"),
        }
        features = [{"name": name, "value": values[name][wish]} for name, wish in wishes.items()]
        self.cdp("Emulation.setEmulatedMedia", features=features)

    def run(self, script: str, *arguments: Any) -> Any:
        """Run the body of an asynchronous function, whose arguments are in `given`, in the page."""
        value, error = self.driver.execute_async_script(
            "const done = arguments[arguments.length - 1];"
            f"(async (...given) => {{{script}}})(...arguments)"
            ".then((value) => done([value ?? null, null]), (error) => done([null, String(error)]))",
            *arguments,
        )
        assert error is None, error
        return value

    def text(self, selector: str) -> str:
        """Return all text of the first element that is found."""
        found: str = self.run("return document.querySelector(given[0]).textContent", selector)
        return found

    def texts(self, selector: str) -> list[str]:
        """Return the text of each element that is found."""
        found: list[str] = self.run(
            "return [...document.querySelectorAll(given[0])].map((one) => one.textContent)", selector
        )
        return found

    def until(self, true: Callable[[], object]) -> None:
        """Wait until something holds."""
        WebDriverWait(self.driver, _SOON, 0.1).until(lambda _: true())

    def shows(self, selector: str, text: str) -> None:
        """Wait until an element has a text in it."""
        self.until(lambda: text in self.text(selector))

    def complaints(self) -> list[str]:
        """Return what the console has said since it was last asked."""
        lines: list[dict[str, str]] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [line["message"] for line in lines]

    def shot(self, name: str) -> None:
        """Keep a picture of the whole page."""
        _SHOTS.mkdir(parents=True, exist_ok=True)
        picture = self.cdp("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        (_SHOTS / f"{name}.png").write_bytes(base64.b64decode(picture))

    def barriers(self) -> list[str]:
        """Return what axe finds that keeps people out, if there is axe."""
        if not _AXE.exists():
            pytest.skip("axe-core is not installed (.ci/programs does it)")
        self.cdp("Runtime.evaluate", expression=_AXE.read_text())
        found = self.run("return (await axe.run()).violations")
        return [
            f"{one['id']}: {node['html'][:200]} {node['failureSummary']}"
            for one in found
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]
