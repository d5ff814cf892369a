"""The studio's page in Chromium, on a real server with models that were trained for seconds."""

from __future__ import annotations

import io
import re
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from studio_browser import (
    Opener,
    browser,
    drawn,
    opened,
    pixels,
    static_site,
    studio,
)
from studio_server import Client

__all__ = ["browser", "opened", "static_site", "studio"]

AXE = Path(__file__).parents[1] / "studio/web/node_modules/axe-core/axe.min.js"
BARS = "model=bars&version=1&seed=7&label=1&steps=8"
CLEAN, NOISY = ".stage canvas >> nth=1", ".stage canvas >> nth=0"


def test_device_and_server_draw_the_same_picture(studio: Client, opened: Opener) -> None:
    expected = studio.x((8, 8), model="bars", seed=7, label=1, steps=8)[0]
    shown = {}
    for place, words in (("device", "this device"), ("server", "server")):
        page = opened(f"{studio.address}/#create?{BARS}&on={place}")
        assert drawn(page).endswith(words)
        shown[place] = pixels(page, CLEAN)[..., 0].astype(float)
    assert np.abs(shown["device"] - shown["server"]).max() <= 1
    assert np.abs(shown["server"] - expected * 255 / 16).max() <= 1
    assert np.ptp(expected) > 8  # a bar, and no even grey


@pytest.mark.slow
def test_points_are_the_same_on_device_and_server(studio: Client, opened: Opener) -> None:
    clouds = []
    for place in ("device", "server"):
        page = opened(f"{studio.address}/#create?model=ring&seed=3&n=400&on={place}")
        drawn(page)
        clouds.append(pixels(page, CLEAN).astype(int))
    differs = np.abs(clouds[0] - clouds[1]).max(-1) > 8
    inked = np.abs(clouds[0] - clouds[0][2, 2]).max(-1) > 8
    assert inked.sum() > 1000
    assert differs.sum() < 0.02 * inked.sum()  # a dot may fall on the next pixel


def test_first_visit_draws_without_a_press(studio: Client, opened: Opener) -> None:
    page = opened(studio.address, reduced_motion="no-preference")
    drawn(page)
    assert re.search(r"#create\?model=bars&version=1&label=any&seed=\d+", page.url)
    page.get_by_role("button", name="Draw a grid of seeds").click()
    page.wait_for_function("() => document.querySelector('.actions button:nth-child(2)').disabled")
    assert page.locator(".variations li").count() == 12
    page.get_by_text("8 / 8", exact=True).wait_for()  # it has played to its end
    chosen = page.locator(".variations button[aria-pressed=true] canvas")
    tile, stage = pixels(page, chosen), pixels(page, CLEAN)
    assert (
        np.abs(tile.astype(int) - stage).max() <= 1
    )  # its seed drawn in a batch is the same picture


def test_reduced_motion_waits_for_a_press(studio: Client, opened: Opener) -> None:
    page = opened(studio.address)
    page.get_by_text("Press Draw another to begin.").wait_for()
    page.get_by_role("button", name="Draw another").click()
    drawn(page)
    assert page.get_by_role("button", name="Play", exact=True).is_visible()  # nothing moves


@pytest.mark.parametrize("place", ["device", pytest.param("server", marks=pytest.mark.slow)])
def test_stop_stops_at_once(studio: Client, opened: Opener, place: str) -> None:
    page = opened(f"{studio.address}/#create?model=ring&seed=1&n=2000&steps=1000&on={place}")
    page.wait_for_function("() => /^Step /.test(document.querySelector('.facts')?.textContent)")
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("Stopped.", exact=True).wait_for()
    label = page.locator(NOISY).get_attribute("aria-label")
    page.wait_for_timeout(300)
    assert page.locator(NOISY).get_attribute("aria-label") == label
    assert "step 1000 of" not in label
    if place == "server":  # it does not go on drawing for nobody
        deadline = time.monotonic() + 20
        while studio.json("/api/health")["requests"]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    page.get_by_role("button", name="Draw another").click()  # and draws again
    page.wait_for_function("() => /^Step /.test(document.querySelector('.facts')?.textContent)")


def test_scrubbing_with_the_keyboard(studio: Client, opened: Opener) -> None:
    page = opened(f"{studio.address}/#create?{BARS}")
    drawn(page)
    slider = page.get_by_role("slider", name="Step", exact=True)
    last = pixels(page, CLEAN)
    slider.focus()
    page.keyboard.press("Home")
    assert slider.get_attribute("aria-valuetext").startswith("step 1 of 8, noise level")
    first, noisy = pixels(page, CLEAN), pixels(page, NOISY)
    page.keyboard.press("ArrowRight")
    assert page.locator(".readout").text_content() == "2 / 8"
    page.keyboard.press("End")
    assert np.array_equal(pixels(page, CLEAN), last)
    assert not np.array_equal(first, last)
    assert noisy[..., 0].std() > 30  # noise, at the contrast of a picture


def test_link_draws_the_same_picture_elsewhere(studio: Client, opened: Opener) -> None:
    options = "sampler=ddim&eta=0.7&process=cld&guidance=2"
    page = opened(
        f"{studio.address}/#create?{BARS}&{options}",
        permissions=["clipboard-read", "clipboard-write"],
    )
    drawn(page)
    page.get_by_role("button", name="Copy link").click()
    page.get_by_text("The link is on the clipboard").wait_for()
    link = page.evaluate("navigator.clipboard.readText()")
    assert "eta=0.7" in link and "process=cld" in link and "on=device" in link
    other = opened(link)
    drawn(other)
    assert np.array_equal(pixels(page, CLEAN), pixels(other, CLEAN))
    plain = opened(f"{studio.address}/#create?{BARS}")  # the options matter
    drawn(plain)
    assert not np.array_equal(pixels(page, CLEAN), pixels(plain, CLEAN))


def test_gif_and_png_decode(studio: Client, opened: Opener, tmp_path: Path) -> None:
    page = opened(f"{studio.address}/#create?{BARS}")
    drawn(page)
    for name in ("GIF", "PNG"):
        with page.expect_download() as download:
            page.get_by_role("button", name=name).click()
        download.value.save_as(tmp_path / name)
        assert download.value.suggested_filename == f"bars-v1-seed7.{name.lower()}"
    shown = pixels(page, CLEAN)
    png = np.asarray(Image.open(tmp_path / "PNG").convert("RGB"))
    assert png.shape[0] >= 512 and np.array_equal(png[32::64, 32::64], shown[..., :3])
    film = Image.open(tmp_path / "GIF")
    assert film.n_frames == 8
    film.seek(7)
    right = np.asarray(film.convert("L"))[:, film.width // 2 + 4 :]
    assert np.abs(right[16::32, 16::32].astype(int) - shown[..., 0]).max() <= 8


def test_keyboard_alone(studio: Client, opened: Opener) -> None:
    page = opened(f"{studio.address}/#create?{BARS}")
    drawn(page)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "(e => e.getAttribute('aria-label') ?? e.labels?.[0]?.firstChild.textContent ?? "
                "e.textContent)(document.activeElement)"
            )
        )
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none" or (
            page.evaluate("document.activeElement.matches('body, [type=radio]')")
        )
        if reached[-1] == "Draw another":
            page.keyboard.press("Enter")
            break
    assert {"Play", "Step", "Draw another"} <= set(reached)
    page.wait_for_function("() => !location.hash.includes('seed=7&')")
    drawn(page)


@pytest.mark.parametrize("place", ["device", pytest.param("server", marks=pytest.mark.slow)])
def test_brush_with_the_keyboard_and_filling_in(studio: Client, opened: Opener, place: str) -> None:
    page = opened(f"{studio.address}/#explore?model=bars&on={place}")
    pad = page.locator(".pad canvas")
    page.wait_for_function(
        "() => document.querySelector('.pad canvas')?.ariaLabel?.includes(' 32 of them hidden')"
    )
    page.get_by_role("radio", name="nothing", exact=True).check(force=True)
    assert " 0 of them hidden" in pad.get_attribute("aria-label")
    wide = Image.new("L", (60, 30))  # its middle square is white on the left
    wide.paste(255, (0, 0, 30, 30))
    wide.save(file := io.BytesIO(), "PNG")
    upload = {"name": "wide.png", "mimeType": "image/png", "buffer": file.getvalue()}
    page.locator("input[type=file]").set_input_files(upload)
    page.wait_for_timeout(200)
    side = pixels(page, ".pad canvas")[..., 0]
    assert side[:, : len(side) // 4].min() > 250 and side[:, -len(side) // 4 :].max() < 5
    pad.focus()
    for key in ("Space", "ArrowRight", "Space", "Shift+ArrowDown"):
        page.keyboard.press(key)
    assert " 3 of them hidden" in pad.get_attribute("aria-label")
    page.get_by_role("radio", name="lower half").check(force=True)
    page.get_by_role("button", name="Fill in").click()
    page.locator(".gallery canvas[aria-label='Result 6']").wait_for()
    scale = pixels(page, ".pad canvas").shape[0] // 8
    given = pixels(page, ".pad canvas")[scale // 2 :: scale, scale // 2 :: scale, 0]
    results = [pixels(page, ".gallery canvas", i)[..., 0] for i in range(6)]
    for result in results:
        assert np.abs(result[:4].astype(int) - given[:4]).max() <= 1  # what is known stays
    assert not np.array_equal(results[0], results[1])


def test_paths_are_the_same_on_device_and_server(studio: Client, opened: Opener) -> None:
    strips = []
    for place in ("device", "server"):
        page = opened(f"{studio.address}/#explore?model=bars&on={place}")
        page.get_by_role("slider", name="From A to B").and_(page.locator(":enabled")).wait_for()
        strips.append(pixels(page, ".strip").astype(int))
    assert np.abs(strips[0] - strips[1]).max() <= 1
    assert np.abs(strips[0][:, :8] - strips[0][:, -8:]).max() > 20  # its ends differ
    page.get_by_label("Strength of change").fill("30")
    page.locator(".gallery canvas[aria-label='Result 6']").wait_for()


def test_training_in_the_page(studio: Client, opened: Opener) -> None:
    page = opened(f"{studio.address}/#learn?shape=moons")
    page.get_by_role("button", name="Train", exact=True).click()
    curve = page.locator(".loss canvas")
    page.wait_for_function(
        "() => Number(/after (\\d+) steps/.exec(document.querySelector('.loss canvas').ariaLabel)"
        "?.[1]) >= 200"
    )
    page.get_by_role("button", name="Pause training").click()
    found = re.search(r"([\d.]+) at first, ([\d.]+) after", curve.get_attribute("aria-label"))
    assert found
    before, after = map(float, found.groups())
    assert after < 0.9 * before
    plane = ".left canvas"
    calm = pixels(page, plane)
    page.get_by_label("Score arrows").check()
    page.wait_for_timeout(300)
    assert not np.array_equal(pixels(page, plane), calm)
    page.get_by_role("button", name="Compare").click()
    page.get_by_text("Fresh data is off by").wait_for()
    off = [
        float(text.split()[-1])
        for text in page.locator(".cells figcaption span").all_text_contents()
    ]
    assert off[0] > off[-1]  # more steps, nearer to the data


@pytest.mark.parametrize("view", ["create", "explore", "learn"])
def test_phone_needs_no_sideways_scroll(studio: Client, opened: Opener, view: str) -> None:
    page = opened(f"{studio.address}/#{view}", viewport={"width": 360, "height": 740})
    page.locator(f".view.{view} h1").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_axe_finds_nothing(studio: Client, opened: Opener, scheme: str) -> None:
    if not AXE.exists():
        pytest.skip("axe-core is not there; run: npm ci --ignore-scripts in studio/web")
    page = opened(f"{studio.address}/#create?{BARS}", color_scheme=scheme)
    drawn(page)
    page.locator("summary").click()
    page.evaluate(AXE.read_text())
    for view in ("create", "explore", "learn"):
        if view != "create":
            page.get_by_role("navigation").get_by_role("link", name=view.capitalize()).click()
            page.locator(f".view.{view} h1").wait_for()
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        told = [(v["id"], [n["target"] for n in v["nodes"]][:3]) for v in found["violations"]]
        assert not told, view


def test_without_webassembly_the_server_draws_and_it_is_said(
    studio: Client, opened: Opener
) -> None:
    page = opened(f"{studio.address}/#create?{BARS}", script="delete window.WebAssembly")
    page.get_by_text("This browser has no WebAssembly. The server draws instead.").wait_for()
    assert drawn(page).endswith("server")


def test_models_for_the_server_only_are_drawn_there_and_it_is_said(
    studio: Client, opened: Opener
) -> None:
    page = opened(f"{studio.address}/#learn")
    told = studio.json("/api/models")
    why = "its process custom.ou:OU is code of its own, which only the server runs"
    told["models"] = [{**model, "browser": False, "reason": why} for model in told["models"]]
    page.route("**/api/models", lambda route: route.fulfill(json=told))
    page.goto(f"{studio.address}/?again#create?{BARS}")
    page.get_by_text(f"bars cannot run in the browser: {why}. The server draws instead.").wait_for()
    assert drawn(page).endswith("server")


def test_without_a_server_learn_still_works(static_site: str, opened: Opener) -> None:
    page = opened(static_site, allowed=("404",))
    page.get_by_role("link", name="Learn").last.click()
    page.get_by_role("button", name="Train", exact=True).click()
    page.wait_for_function(
        "() => /^\\d+ steps/.test(document.querySelector('.learn .facts')?.textContent)"
    )


def test_errors_are_a_sentence_on_the_page(studio: Client, opened: Opener) -> None:
    page = opened(f"{studio.address}/#create?{BARS}&on=server", allowed=("429", "ERR_FAILED"))
    drawn(page)
    page.route(
        "**/api/generate",
        lambda route: route.fulfill(
            status=429,
            headers={"retry-after": "3", "content-type": "application/json"},
            body='{"detail": "The server is busy."}',
        ),
    )
    page.get_by_role("button", name="Draw another").click()
    page.get_by_text("The server is busy. (again in 3 s)").wait_for()
    page.route("**/api/generate", lambda route: route.abort())
    page.get_by_role("button", name="Draw another").click()
    page.get_by_text("The server cannot be reached").wait_for()
    page.goto(f"{studio.address}/#create?model=bars&version=9&seed=7&sampler=best&on=device")
    page.get_by_text("This link asks for version 9, sampler best, which is not here").wait_for()


# Draws on one backend in a Worker of its own: {x} or {error}.
ON_BACKEND = """async ([backend, name, options]) => {
  const { Engine, ScoreModel } = await import("./client.js");
  const engine = new Engine();
  try {
    await engine.start({ backend });
    const model = await ScoreModel.load(`/api/models/${name}/1/files`, { engine });
    return { x: [...await model.generate(options)] };
  } catch (error) {
    return { error: error.message };
  } finally {
    engine.terminate();
  }
}"""


@pytest.mark.slow
def test_webgl_draws_what_webassembly_draws(studio: Client, opened: Opener) -> None:
    page = opened(studio.address)
    page.set_default_timeout(250_000)  # WebGL is a program on the CPU here
    for name in ("ring", "bars"):
        given = {"n": 2, "seed": 5, "steps": 4}
        one, other = (page.evaluate(ON_BACKEND, [b, name, given])["x"] for b in ("wasm", "webgl"))
        np.testing.assert_allclose(other, one, atol=1e-3 * max(1, np.abs(one).max()))


@pytest.mark.slow
def test_without_webgl_webassembly_draws(studio: Client, opened: Opener) -> None:
    page = opened(f"{studio.address}/#create?{BARS}", allowed=("net::ERR_FAILED",))
    page.context.route("**/webgl.js", lambda route: route.abort())
    assert "WebAssembly · this device" in drawn(page)
    assert "error" in page.evaluate(ON_BACKEND, ["webgl", "bars", {"n": 1}])
    page.get_by_role("button", name="Draw another").click()
    page.wait_for_function("() => !location.hash.includes('seed=7&')")
    assert "WebAssembly · this device" in drawn(page)


@pytest.mark.slow
def test_points_given_their_first_coordinate(studio: Client, opened: Opener) -> None:
    page = opened(f"{studio.address}/#explore?model=ring&on=server", color_scheme="light")
    page.get_by_role("slider", name="From A to B").and_(page.locator(":enabled")).wait_for()
    page.get_by_role("button", name="Draw the second, given the first").click()
    page.locator("canvas[aria-label$='given: 600 points']").wait_for()
    picture = pixels(page, ".card canvas").astype(int)
    accent = np.abs(picture[..., :3] - [11, 110, 153]).max(-1) < 90  # see-through dots
    columns = np.flatnonzero(accent.sum(0) > 2)
    assert accent.sum() > 200
    assert abs(columns - picture.shape[1] / 2).max() <= 7  # all stand on the given line
    rows = np.flatnonzero(accent.sum(1))
    assert np.ptp(rows) > picture.shape[0] / 3  # on both sides of the ring


@pytest.mark.slow
def test_points_drawn_by_hand_are_learned(studio: Client, opened: Opener) -> None:
    page = opened(f"{studio.address}/#learn")
    page.get_by_role("button", name="Train", exact=True).wait_for()
    page.get_by_role("radio", name="Drawn by hand").check(force=True)
    page.get_by_role("button", name="Train", exact=True).click()
    page.get_by_text("Draw some points on the plane first.").wait_for()
    plane = page.locator(".left canvas")
    empty = pixels(page, ".left canvas")
    box = plane.bounding_box()
    page.mouse.move(box["x"] + 80, box["y"] + 80)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, box["y"] + 300, steps=5)
    page.mouse.up()
    plane.focus()
    for key in ("Space", "ArrowRight", "Shift+ArrowRight"):
        page.keyboard.press(key)
    page.wait_for_timeout(100)
    assert not np.array_equal(pixels(page, ".left canvas"), empty)
    page.get_by_role("button", name="Train", exact=True).click()
    page.wait_for_function(
        "() => /^\\d+ steps/.test(document.querySelector('.learn .facts')?.textContent)"
    )


def test_switch_of_engine_draws_again_and_views_keep_their_state(
    studio: Client, opened: Opener
) -> None:
    page = opened(f"{studio.address}/#create?{BARS}")
    assert drawn(page).endswith("this device")
    page.get_by_role("radio", name="Server").check(force=True)
    page.wait_for_function("() => /· server$/.test(document.querySelector('.facts')?.textContent)")
    assert "on=server" in page.url and "seed=7" in page.url
    for view in ("Learn", "Create"):
        page.get_by_role("navigation").get_by_role("link", name=view).click()
    page.locator(".view.create h1").wait_for()
    assert "seed=7" in page.url and "on=server" in page.url
    assert page.locator(".readout").text_content() == "8 / 8"
