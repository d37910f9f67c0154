"""The live page in a real browser, shown by a real listener of a proxy that plays a part."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest
from selenium.webdriver.common.keys import Keys

from tests.e2e.browser import Browser, chromium
from tests.e2e.scenes import CALM, HOSTILE, Scene, busy, calm, hostile, trouble
from tests.e2e.site import Site
from tests.e2e.stack import running

SCENES = {"calm": calm, "busy": busy, "trouble": trouble}
REFUSED = "net::ERR_CONNECTION_REFUSED"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    site = Site()
    with site.running():
        yield site


@pytest.fixture(scope="module")
def browser(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(autouse=True)
def _anew(site: Site, browser: Browser) -> None:
    site.scene, site.mute = calm(), False
    browser.look(1280)
    browser.complaints()


def show(browser: Browser, site: Site, scene: Scene) -> None:
    """Open the page, and wait until it shows a scene."""
    site.scene = scene
    site.break_streams()  # what was looked at before is forgotten
    browser.driver.get(site.url)
    browser.shows("#feed", "live")


def test_it_says_all_that_the_proxy_does(browser: Browser, site: Site) -> None:
    show(browser, site, busy())
    assert browser.driver.title == "Serving · avala-proxy"
    assert browser.text("#about").startswith("1.2.3, up ")
    assert browser.text("#headline") == "Serving"
    assert browser.texts("#also li") == [
        "47 requests wait, the last goes in 61 s; standard and inference are used up"
    ]
    assert browser.texts("#way li") == [
        "Clientsfineno errors",
        "Proxywaitingno errors",
        "Networkfineno errors",
        "APIfineno errors",
    ]
    assert browser.texts("#facts dd")[1:] == ["47of 1,000", "168in a minute", "0in a minute", "0in a minute"]
    assert browser.texts("#budget li")[:2] == [
        "standard100 per 60 s0 left68 by us · 12 by others · 20 in reserve · 38 waiting",
        "burst20 per 1 s2 left18 by us · 4 waiting",
    ]
    assert browser.texts("#budget li")[5] == "uploads10 at once8 left2 by us"
    assert browser.texts("#callers tr")[0] == "nightly-import, key 5e1f311 s43 s"
    assert browser.texts("#times tr") == ["API120 ms310 ms800 ms1.2 s250", "in line0 s3.1 s12 s21 s250"]
    assert browser.texts("#health li") == [
        "breaker upstreamclosed",
        "breaker exportsclosed",
        "ledgershared by 3",
    ]
    assert browser.text("#configuration") == site.effective
    assert browser.texts("#halves tr")[-1].startswith("30 to 0")
    assert browser.complaints() == []


def test_what_is_wrong_is_said_the_worst_first_and_where(browser: Browser, site: Site) -> None:
    show(browser, site, trouble())
    assert browser.driver.title == "API: fails · avala-proxy"
    assert browser.text("#headline") == "The API fails: breaker of upstream open"
    assert browser.run("return document.getElementById('verdict').dataset.level") == "bad"
    also = "return [...document.querySelectorAll('#also li')].map((one) => one.dataset.level)"
    assert browser.run(also) == ["bad"] * 3 + ["warn"] * 4 + ["note"] * 2
    assert browser.texts("#also li")[:2] == [
        "Stopped by hand: the breaker of exports is held open",
        "The API fails: 36 errors in the last 30 s",
    ]
    assert browser.texts("#way li")[1:3] == [
        "Proxystopped131 errors in 30 s",
        "Networkunsteady2 errors in 30 s",
    ]


def test_what_is_drawn_is_said_in_words_too(browser: Browser, site: Site) -> None:
    show(browser, site, busy())
    meter = browser.run(
        "const one = document.querySelector('[role=meter]');"
        "return ['label', 'valuemin', 'valuemax', 'valuenow', 'valuetext']"
        ".map((name) => one.getAttribute(`aria-${name}`))"
    )
    said = "0 of 100 left: 68 by us, 12 by others, 20 in reserve, 38 waiting"
    assert meter == ["Left of standard", "0", "100", "0", said]
    drawn = browser.run("return [...document.querySelectorAll('#chart svg')].map((one) => one.ariaLabel)")
    assert drawn[0] == "Sent: 3 in this second, at most 15 in three minutes"
    assert drawn[2] == "Refused: 0 in this second, at most 3 in three minutes"


def test_errors_are_by_fault_with_the_last_example_of_each(browser: Browser, site: Site) -> None:
    show(browser, site, trouble())
    browser.shows("#errors .client", "validation")
    request_id = "0b6f7c1e-5b1d-4f7e-9c55-6f0a1d1f8d11"
    text = browser.text("#errors .client")
    assert text.startswith("ClientsNo errors.validation44 just nowPOST/api/v1/datasets/")
    assert text.endswith(f"422invalid_nameid{request_id}")
    assert browser.texts("#errors .network .name") == ["connection_terminated"]
    assert "no answer" in browser.text("#errors .network .answer")
    assert browser.texts("#errors .api .head") == [
        "rate_limited88 just now",
        "server_error3131 just now",
        "unavailable55 just now",
    ]
    assert browser.texts("#errors .proxy .name") == ["queue_full", "circuit_open"]


def test_its_numbers_move_by_themselves_and_nothing_else_does(browser: Browser, site: Site) -> None:
    show(browser, site, busy())
    places = (
        "return [...document.querySelectorAll('section')].map((one) => one.getBoundingClientRect().toJSON())"
    )
    number, before = int(browser.text("#facts .value")), browser.run(places)
    browser.until(lambda: int(browser.text("#facts .value")) > number)
    assert browser.run(places) == before
    site.reconfigure("[queue]\nsize = 5\n")
    site.scene = trouble()
    browser.shows("#configuration", "size = 5")
    browser.shows("#headline", "The API fails: breaker of upstream open")
    assert browser.driver.title == "API: fails · avala-proxy"


def test_only_another_verdict_is_announced(browser: Browser, site: Site) -> None:
    show(browser, site, calm())
    browser.run(
        "window.announced = []; const said = document.getElementById('said');"
        "new MutationObserver(() => announced.push(said.textContent)).observe(said, {childList: true})"
    )
    paused = replace(CALM.limits[0], paused=True, remaining=0)
    scene = Scene(replace(CALM, limits=(paused, *CALM.limits[1:]), pauses={"standard": 12.5}))
    site.scene = scene
    browser.shows("#headline", "standard is paused for 13 s")
    scene.state = replace(scene.state, pauses={"standard": 9.5})
    browser.shows("#headline", "standard is paused for 10 s")
    site.scene = calm()
    browser.shows("#headline", "Serving")
    announced = browser.run("return announced")
    assert announced == ["The API refuses: standard is paused for 13 s", "Serving"]


@pytest.mark.parametrize("name", SCENES)
def test_everybody_can_read_it_on_every_screen(browser: Browser, site: Site, name: str) -> None:
    show(browser, site, SCENES[name]())
    for width in (1280, 360):
        for dark in (False, True):
            browser.look(width, dark=dark)
            assert browser.run("return document.documentElement.scrollWidth") == width
            assert browser.barriers() == []
            browser.shot(f"{name}-{width}-{'dark' if dark else 'light'}")


def test_who_wants_no_motion_gets_none(browser: Browser, site: Site) -> None:
    show(browser, site, calm())
    moving = "return getComputedStyle(document.querySelector('.meter .ours')).transitionDuration"
    assert browser.run(moving) == "0s"
    browser.look(1280, still=False)
    assert browser.run(moving) == "0.3s"


def test_what_others_write_is_text_and_stays_in_its_place(browser: Browser, site: Site) -> None:
    show(browser, site, hostile())
    browser.shows("#errors .client", "client_error")
    for width in (360, 1280):
        browser.look(width)
        assert browser.run("return document.documentElement.scrollWidth") == width
    assert browser.texts("#callers .name") == list(HOSTILE)
    assert browser.texts("#errors .request .text") == list(HOSTILE)
    assert browser.texts("#errors .answer .code") == list(HOSTILE)
    assert browser.texts("#errors .id .text") == list(HOSTILE)
    assert browser.run("return document.querySelectorAll('img, main script').length") == 0
    assert "owned" not in browser.driver.title
    assert browser.complaints() == []


def test_the_policy_stops_what_the_page_does_not_do(browser: Browser, site: Site) -> None:
    show(browser, site, calm())
    refused = browser.run(
        "const stopped = []; document.addEventListener('securitypolicyviolation', "
        "(event) => stopped.push(event.effectiveDirective));"
        "try { document.body.innerHTML = '<b>' } catch {}"
        "await fetch('http://127.0.0.2:1/').catch(() => {});"
        "document.body.append(Object.assign(document.createElement('img'), {src: 'http://127.0.0.2:1/'}));"
        "await new Promise((done) => setTimeout(done, 100)); return stopped"
    )
    assert set(refused) == {"require-trusted-types-for", "connect-src", "img-src"}
    assert browser.text("#headline") == "Serving"


def test_without_the_stream_it_asks_and_with_it_it_listens_again(browser: Browser, site: Site) -> None:
    show(browser, site, calm())
    site.mute = True
    site.break_streams()
    browser.shows("#feed", "polling")
    looks = site.scene.looks
    number = int(browser.text("#facts .value"))
    browser.until(lambda: int(browser.text("#facts .value")) > number)
    assert site.scene.looks > looks
    assert browser.text("#headline") == "Serving"
    site.mute = False
    browser.shows("#feed", "live")


def test_when_nobody_answers_it_says_since_when_and_comes_back_by_itself(
    browser: Browser, site: Site
) -> None:
    show(browser, site, busy())
    site.close()
    try:
        browser.shows("#feed", "connection lost; last seen ")
        assert browser.text("#headline").startswith("Connection lost; last seen ")
        assert browser.text("#said") == browser.text("#headline")
        assert browser.driver.title == "Lost · avala-proxy"
        assert browser.run("return document.body.classList.contains('stale')")
        for dark in (False, True):
            browser.look(1280, dark=dark)
            assert browser.barriers() == []
            browser.shot(f"lost-1280-{'dark' if dark else 'light'}")
    finally:
        site.open()
    browser.shows("#feed", "live")
    assert browser.text("#headline") == "Serving"
    assert not browser.run("return document.body.classList.contains('stale')")
    assert [said for said in browser.complaints() if REFUSED not in said] == []


def test_a_page_that_nobody_sees_gives_its_stream_back(browser: Browser, site: Site) -> None:
    show(browser, site, calm())
    hide = (
        "Object.defineProperty(document, 'hidden', {configurable: true, value: given[0]});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    assert site.watching == 1
    browser.run(hide, True)
    browser.until(lambda: site.watching == 0)
    browser.run(hide, False)
    browser.until(lambda: site.watching == 1)
    browser.shows("#feed", "live")


def test_all_of_it_can_be_reached_with_the_keyboard(browser: Browser, site: Site) -> None:
    show(browser, site, calm())
    browser.run("for (const one of document.querySelectorAll('details')) one.open = true")
    focused = (
        "const one = document.activeElement; const style = getComputedStyle(one);"
        "return [one.tagName, one.getAttribute('href') ?? one.id,"
        " style.outlineStyle !== 'none' && one.getBoundingClientRect().left >= 0]"
    )
    reached = []
    for _ in range(11):
        browser.driver.switch_to.active_element.send_keys(Keys.TAB)
        reached.append(browser.run(focused))
    links = ("metrics", "status", "readyz", "healthz", "breakers", "log", "events")
    assert reached == [
        ["A", "#main", True],
        ["SUMMARY", "", True],
        ["SUMMARY", "", True],
        ["PRE", "configuration", True],
        *(["A", link, True] for link in links),
    ]
    browser.run("document.querySelector('.skip').focus()")
    browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert browser.run("return document.activeElement.id") == "main"


async def test_the_whole_program_is_watched_while_it_works_and_stops_no_later_for_it(
    browser: Browser,
) -> None:
    clock = asyncio.get_running_loop().time
    async with running() as stack:
        await asyncio.to_thread(browser.driver.get, stack.app.admin_url)
        await asyncio.to_thread(browser.shows, "#feed", "live")
        for _ in range(7):
            assert (await stack.ask("GET", "/api/v1/datasets/"))[0] == 200
        await asyncio.to_thread(browser.shows, "#budget", "7 by us")
        assert await asyncio.to_thread(browser.text, "#headline") == "Serving"
        before = clock()
    assert clock() - before < 1.5  # what does not end by itself is waited for, a second and more
    await asyncio.to_thread(browser.shows, "#feed", "connection lost")
