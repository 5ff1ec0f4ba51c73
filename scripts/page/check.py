#!/usr/bin/env python3
"""Opens report pages in headless Chromium, as a person would from a folder, and fails where something is wrong with them: errors, network
requests, charts not drawn, sideways scrolling on a phone, a viewer that does not step or play, a flagged point that does not lead to its LS.
Times are told, and with --timing (on a machine that does nothing else) held to their limits.

Usage: check.py [--timing] [--brief] [--screenshots DIR] [--texts DIR] [--chromium PATH] FILE…      (needs playwright and a Chromium)
       check.py --available      says what is missing, if anything is
"""

import argparse
import json
import pathlib
import shutil
import sys
import time

try:
    from playwright.sync_api import sync_playwright
except ImportError:
    sync_playwright = None

PHONE = {"width": 360, "height": 740}
DESKTOP = {"width": 1440, "height": 900}
FIRST_PLOT_MS = 2000
FRAME_MS = 50
# Mean time of a frame over about a second, by the page's own clock.
# Names in legends of which nothing is drawn.
UNDRAWN = """() => lumisift.charts.filter(({ chart }) => chart).flatMap(({ title, chart }) => {
  const { legend, series } = chart.getOption();
  const filled = new Set(series.filter((one) => one.data?.some((item) => [item?.value ?? item].flat().some((value) => value != null && value !== "-"))).map((one) => one.name));
  return (legend || []).flatMap((one) => one.data || []).map((item) => item.name ?? item).filter((name) => !filled.has(name)).map((name) => `${title}: ${name}`);
})"""
# Captions that speak of a dashed threshold where none is drawn.
DASHED = """() => lumisift.charts.filter(({ chart, figure }) => chart && figure.querySelector("figcaption").textContent.includes("Dashed: the threshold")
  && !chart.getOption().series.some((one) => one.markLine?.data?.length)).map(({ title }) => title)"""
EMPTY_TABLES = "() => [...document.querySelectorAll('.table')].filter((table) => !table.querySelector('tbody tr')).map((table) => table.textContent)"
# Bins count from 0: bin_10 lies around 10, or between its edges in units of the axis.
BINS = """() => [binName({ k: 100 }, 9.5), binName({ k: 100, edges: [0, 50, null, null] }, 5), String(horizontal({ k: 100 })), binLabel({ k: 100 })].join("; ")"""
NAMED_BINS = "bin_10; bin_10 (5 to 5.5); -0.5,99.5; bin"
PACE = """async () => {
  const [began, first] = [performance.now(), lumisift.frame.index];
  await new Promise((done) => setTimeout(done, 1000));
  return (performance.now() - began) / (lumisift.frame.index - first);
}"""


def wait_until(page, holds, seconds=30):
    """Asks again and again. Playwright's own waiting evaluates text in the page, which the page's policy forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(holds):
        if time.monotonic() > end:
            raise TimeoutError(f"{page.url}: not within {seconds} s: {holds}")
        page.wait_for_timeout(20)


class Page:
    """A page that is open, and what went wrong with it."""

    def __init__(self, browser, path, viewport, scheme):
        self.wrong = []
        self.context = browser.new_context(viewport=viewport, color_scheme=scheme, offline=True)
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.wrong.append(f"console: {message.text}") if message.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("dialog", lambda dialog: (self.wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        self.page.on("request", lambda request: self.requested(request.url))
        self.page.goto(path.resolve().as_uri())
        wait_until(self.page, "window.lumisift?.ready")

    def requested(self, url):
        if not url.startswith(("file:", "data:", "blob:")) or (url.startswith("file:") and not url.split("#")[0].endswith(".html")):
            self.wrong.append(f"request: {url}")

    def ask(self, script, *arguments):
        return self.page.evaluate(script, *arguments)

    def draw_all(self):
        self.ask("lumisift.drawAll()")
        self.wrong += [f"page: {error}" for error in self.ask("lumisift.errors")]
        self.wrong += [f"not drawn: {title}" for title in self.ask("lumisift.charts.filter((chart) => !chart.drawn).map((chart) => chart.title)")]
        empty = "lumisift.charts.filter(({ chart }) => chart && !chart.getOption().series.some((one) => one.data?.length)).map(({ title }) => title)"
        self.wrong += [f"empty frame: {title}" for title in self.ask(empty)]
        self.wrong += [f"in a legend, but not drawn: {name}" for name in self.ask(UNDRAWN)]
        self.wrong += [f"a dashed threshold that is not drawn: {title}" for title in self.ask(DASHED)]
        self.wrong += [f"empty table: {title}" for title in self.ask(EMPTY_TABLES)]
        self.expect(self.ask(BINS) == NAMED_BINS, f"bins are named {self.ask(BINS)}, not {NAMED_BINS}")
        self.wrong += [f"{word} in the text" for word in ("NaN", "undefined", "[object") if word in self.ask("document.getElementById('page').innerText")]
        sideways = self.ask("document.documentElement.scrollWidth - innerWidth")
        if sideways > 0:
            self.wrong.append(f"scrolls sideways by {sideways} pixels at {self.page.viewport_size['width']}")
        self.check_injected()

    def hover(self):
        """Over the middle of each chart, so that tooltips are made too."""
        for at in range(self.ask("lumisift.charts.length")):
            box = self.ask("(at) => { const { box } = lumisift.charts[at]; box.scrollIntoView({ block: 'center' }); return box.getBoundingClientRect().toJSON(); }", at)
            for share in (0.4, 0.5):
                self.page.mouse.move(box["x"] + box["width"] * share, box["y"] + box["height"] * 0.4)
        self.page.wait_for_timeout(100)
        self.check_injected()

    def check_injected(self):
        injected = self.ask("document.querySelectorAll('#page img, #head img, #page script').length")
        if injected:
            self.wrong.append(f"{injected} elements came in with names")

    def expect(self, holds, what):
        if not holds:
            self.wrong.append(what)

    def close(self):
        self.context.close()
        return self.wrong


def check_viewer(page, timing):
    """Steps, plays and jumps, where there is a viewer."""
    frame = lambda: page.ask("lumisift.frame")
    if not frame():
        return
    press = lambda label: page.page.locator(f".viewer button[aria-label^='{label}']").click()
    if frame()["frames"] > 1:
        page.ask("lumisift.viewer.go(0)")
        press("next LS") if page.page.locator(".viewer button[aria-label='next LS']").count() else press("next event")
        page.expect(frame()["index"] == 1, f"next leads to frame {frame()['index']}, not 1")
        page.page.locator(".viewer").focus()
        page.page.keyboard.press("ArrowLeft")
        page.expect(frame()["index"] == 0, f"arrow left leads to frame {frame()['index']}, not 0")
    if frame()["frames"] > 30:
        press("play")
        page.page.wait_for_timeout(200)
        pace = page.ask(PACE)
        press("play")
        played = frame()["index"]
        page.expect(45 <= pace <= (75 if timing else 1e9), f"play takes {pace:.0f} ms a frame, not {FRAME_MS}")
        drawing = page.ask("lumisift.frameMs")
        page.expect(drawing < FRAME_MS or not timing, f"a frame took {drawing:.0f} ms to draw")
        page.page.wait_for_timeout(150)
        page.expect(frame()["index"] == played, "play goes on after pause")
        page.played = (pace, drawing)


def check_click(page):
    """Clicks a flagged point of the score chart: the viewer must show its LS."""
    script = """() => {
      const frame = lumisift.frame;
      if (!frame || !lumisift.scores) return null;
      const flagged = [...document.querySelectorAll('.ranges button')].length;
      return flagged ? true : null;
    }"""
    if not page.ask(script):
        return
    page.ask("lumisift.viewer.go(0)")
    page.page.locator(".viewer button[aria-label^='next flagged']").click()
    wanted = page.ask("lumisift.frame")
    page.expect(wanted["verdict"] == "flagged", f"next flagged leads to one that is {wanted['verdict']}")
    page.ask("lumisift.viewer.go(0)")
    page.ask("document.querySelector('#score-chart').scrollIntoView()")
    page.page.wait_for_timeout(100)
    where = page.ask("([run, at]) => lumisift.locate(run, at)", [wanted["runIndex"], wanted["at"]])
    page.page.mouse.click(where["x"], where["y"])
    shown = page.ask("lumisift.frame")
    page.expect((shown["run"], shown["ls"]) == (wanted["run"], wanted["ls"]), f"a click on {wanted['run']}/{wanted['ls']} shows {shown['run']}/{shown['ls']}")
    seen = page.ask("(() => { const box = document.querySelector('.viewer').getBoundingClientRect(); return box.bottom > 0 && box.top < innerHeight; })()")
    page.expect(seen, "a click does not bring the viewer into the window")


def check(browser, path, options):
    wrong, facts = [], {}
    screenshots, timing = options.screenshots, options.timing
    views = [("light", DESKTOP, "light"), ("dark", DESKTOP, "dark"), ("phone", PHONE, "light")]
    for name, viewport, scheme in views[:1] if options.brief else views:
        page = Page(browser, path, viewport, scheme)
        page.page.wait_for_timeout(50)
        if name == "light" and page.ask("lumisift.charts.length"):
            page.ask("lumisift.charts[0].box.scrollIntoView()")
            wait_until(page.page, "lumisift.firstPlot !== null")
            first = facts["first plot (ms)"] = round(page.ask("lumisift.firstPlot"))
            page.expect(first <= FIRST_PLOT_MS or not timing, f"the first plot took {first} ms")
        page.draw_all()
        facts["charts"] = page.ask("lumisift.charts.length")
        if screenshots:
            page.ask("scrollTo(0, 0)")
            page.page.screenshot(path=screenshots / f"{path.stem}-{name}.png", full_page=True)
        if name == "light":
            if options.texts:
                (options.texts / f"{path.stem}.txt").write_text(page.ask("document.body.innerText"))
            page.hover()
            check_viewer(page, timing)
            check_click(page)
            if hasattr(page, "played"):
                facts["pace (ms)"], facts["last frame (ms)"] = round(page.played[0]), round(page.played[1], 1)
            if screenshots:
                page.page.pdf(path=screenshots / f"{path.stem}.pdf", format="A4", print_background=True)
        page.page.locator(".theme").click()
        wrong += [f"{name}: {problem}" for problem in page.close()]
    if not options.brief:
        wrong += check_old_browser(browser, path)
    return wrong, facts


def check_old_browser(browser, path):
    """Without DecompressionStream the figures are still there, and the page says what is not."""
    context = browser.new_context(offline=True)
    context.add_init_script("delete window.DecompressionStream")
    page = context.new_page()
    page.goto(path.resolve().as_uri())
    wait_until(page, "window.lumisift?.ready")
    wrong = [f"old browser: {error}" for error in page.evaluate("lumisift.errors")]
    if page.evaluate("JSON.parse(document.querySelector('#data').textContent).kind === 'experiment' && !document.querySelector('.notice')?.textContent.includes('DecompressionStream')"):
        wrong.append("old browser: nothing says what is missing")
    context.close()
    return wrong


def missing(chromium):
    """What is not there that is needed."""
    if sync_playwright is None:
        return "playwright"
    if chromium:
        return None
    with sync_playwright() as playwright:
        return None if pathlib.Path(playwright.chromium.executable_path).exists() else "a Chromium"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=pathlib.Path)
    parser.add_argument("--available", action="store_true")
    parser.add_argument("--timing", action="store_true")
    parser.add_argument("--brief", action="store_true", help="only on a large light screen")
    parser.add_argument("--screenshots", type=pathlib.Path)
    parser.add_argument("--texts", type=pathlib.Path, help="where to put the words of each page")
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    options = parser.parse_args()
    lacking = missing(options.chromium)
    if lacking or options.available:
        sys.exit(f"{lacking} is not there" if lacking else 0)
    for folder in filter(None, [options.screenshots, options.texts]):
        folder.mkdir(parents=True, exist_ok=True)
    failed = False
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
        for path in options.files:
            wrong, facts = check(browser, path, options)
            failed |= bool(wrong)
            print(f"{path}: {'FAILED' if wrong else 'ok'} {json.dumps(facts)}")
            for problem in dict.fromkeys(wrong):
                print(f"  {problem[:300]}")
        browser.close()
    sys.exit(failed)


if __name__ == "__main__":
    main()
