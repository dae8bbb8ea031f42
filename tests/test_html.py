"""The report page: what it says without a script, what it does in a real browser, and that no value in it can act."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from matplotlib.colors import to_hex

from bench.analysis import charts, page, style
from bench.analysis.settings import pool_rounds, read_jobs
from bench.results import Row
from bench.units import format_seconds
from tests import browser as browsers
from tests import synthetic

EVIL = '<img src=x onerror="document.title=1">'


def page_of(tmp_path: Path, rows: list[Row]) -> Path:
    jobs = read_jobs([synthetic.write(tmp_path, rows)])
    return page.write_page(jobs, pool_rounds(jobs), tmp_path / "report.html")


def big_sweep() -> list[Row]:
    return synthetic.sweep(
        model=["MPT-7B", "LLaMA-7B", "Falcon-7B", "OPT-6.7B"],
        framework=["hf", "pace", "deepspeed_tp"],
        hardware=["1xA100-80GB", "1xH100-80GB", "AMD EPYC 9654 (192 CPUs)"],
        output_tokens=[1, 11, 101],
        batch_size=[1, 2, 4, 8, 16, 32, 64, 128, 256, 512],
        most_tokens=90_000,
    )


class Cells(HTMLParser):
    """The tags of a page, and the text of the cells of its table of results."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.rows: list[list[str]] = []
        self._inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._inside = self._inside or ("id", "results") in attributes
        if self._inside and tag == "tr":
            self.rows.append([])
        if self._inside and tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "table"

    def handle_data(self, data: str) -> None:
        if self._inside and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip()


def test_without_a_script_the_page_holds_every_result(tmp_path: Path) -> None:
    rows = synthetic.sweep(most_tokens=900)
    page = Cells(page_of(tmp_path, rows).read_text())
    assert page.rows[0][:4] == ["in", "out", "batch", "latency"]
    assert len(page.rows) == 1 + 12
    assert page.rows[1][:4] == ["128", "1", "1", format_seconds(rows[0]["latency_s"])]
    assert page.rows[-1][3:5] == ["–", "–"]
    assert page.rows[-1][-2] == "oom"


def test_a_thousand_rows_fit_into_300_kb_and_load_nothing(tmp_path: Path) -> None:
    file = page_of(tmp_path, big_sweep())
    page = file.read_text()
    assert len(Cells(page).rows) == 1 + 1080
    assert file.stat().st_size < 300_000
    assert "default-src 'none'" in unescape(page)
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")


def test_every_value_is_shown_as_text(tmp_path: Path) -> None:
    rows = synthetic.sweep(model=[EVIL, "</script>"], framework=["@script@"], most_tokens=900)
    rows = [{**row, "noisy": True, "noise": [EVIL], "error": row.get("error") and EVIL, "host": EVIL, "name": EVIL} for row in rows]
    page = Cells(page_of(tmp_path, rows).read_text())
    assert "img" not in page.tags
    assert page.tags.count("script") == 2
    assert EVIL in page.rows[1]


# In a real browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if reason := browsers.missing():
        pytest.skip(reason)
    with browsers.chromium() as session:
        yield session


def text(browser: Any, element: str) -> str:
    return str(browser.execute_script(f"return document.getElementById('{element}').textContent"))


def choose(browser: Any, name: str, value: str) -> None:
    script = """
        const select = document.getElementsByName(arguments[0])[0];
        select.value = arguments[1];
        select.dispatchEvent(new Event('input', { bubbles: true }));
    """
    browser.execute_script(script, name, value)


def shown_rows(browser: Any) -> int:
    return int(browser.execute_script("return document.querySelectorAll('#results tbody tr:not([hidden])').length"))


def test_filters_apply_to_charts_and_table_and_are_remembered(browser: Any, tmp_path: Path) -> None:
    browser.get(f"file://{page_of(tmp_path, big_sweep())}")
    assert browser.get_log("browser") == []
    choose(browser, "model", "MPT-7B")
    choose(browser, "framework", "pace")
    assert shown_rows(browser) == 3 * 10
    assert text(browser, "count") == "30 of 1080 settings shown."
    assert "model=MPT-7B" in browser.current_url
    assert browser.execute_script("return document.querySelectorAll('#throughput .line').length") == 3


def test_the_chosen_axis_is_shown_whole_and_its_filter_comes_back(browser: Any, tmp_path: Path) -> None:
    browser.get(f"file://{page_of(tmp_path, synthetic.sweep())}")
    assert text(browser, "count") == "4 of 12 settings shown."
    choose(browser, "x", "output_tokens")
    assert browser.execute_script("return document.querySelectorAll('#latency .line').length") == 4
    assert browser.execute_script("return document.getElementsByName('output_tokens')[0].value") == ""
    choose(browser, "x", "batch_size")
    assert text(browser, "count") == "4 of 12 settings shown."


def test_the_address_brings_back_what_was_chosen_and_cannot_ask_for_more(browser: Any, tmp_path: Path) -> None:
    file = page_of(tmp_path, synthetic.sweep(framework=["hf", "pace"]))
    browser.get(f"file://{file}")
    choose(browser, "framework", "pace")
    choose(browser, "output_tokens", "11")
    choose(browser, "unit", "0.001")
    browser.find_element("id", "limit").send_keys("400")
    asked, answered = browser.current_url, text(browser, "answer")
    assert answered.startswith("Best: batch ")
    browser.get("about:blank")
    browser.get(f"{asked}&constructor=1&model=nobody&framework=nobody&x=latency_s")
    assert browser.get_log("browser") == []
    assert (text(browser, "answer"), text(browser, "count")) == (answered, "4 of 24 settings shown.")
    assert browser.execute_script("return [...document.querySelectorAll('#controls select')].map((s) => s.name)") == [
        *("framework", "output_tokens")
    ]


def test_the_address_remembers_a_filter_that_waits(browser: Any, tmp_path: Path) -> None:
    browser.get(f"file://{page_of(tmp_path, synthetic.sweep())}")
    choose(browser, "output_tokens", "11")
    choose(browser, "x", "output_tokens")
    asked = browser.current_url
    browser.get("about:blank")
    browser.get(asked)
    assert text(browser, "count") == "12 of 12 settings shown."
    choose(browser, "x", "batch_size")
    assert browser.execute_script("return document.getElementsByName('output_tokens')[0].value") == "11"


def test_a_filter_from_the_address_has_its_control(browser: Any, tmp_path: Path) -> None:
    browser.get(f"file://{page_of(tmp_path, synthetic.sweep(most_tokens=900))}#status=oom&output_tokens=")
    assert browser.execute_script("return document.getElementsByName('status')[0].value") == "oom"
    assert shown_rows(browser) == 4
    choose(browser, "status", "")
    assert shown_rows(browser) == 12


def test_lines_are_called_and_coloured_as_in_the_pictures(browser: Any, tmp_path: Path) -> None:
    rows = synthetic.sweep(framework=["hf", "pace"], do_sample=[False, True], output_tokens=[11])
    configs = [json.dumps({**json.loads(row["config"]), "framework": {"compile": row["do_sample"]}}) for row in rows]
    folder = synthetic.write(tmp_path, [{**row, "config": config} for row, config in zip(rows, configs, strict=True)])
    settings = pool_rounds(read_jobs([folder]))
    picture = next(picture for picture in charts.standard_pictures(settings) if picture.chart.name == "throughput")
    with style.house_style():
        labels = [text for text in picture.figure().axes[0].texts if text.get_fontweight() == "bold"]
    browser.get(f"file://{page.write_page(read_jobs([folder]), settings, tmp_path / 'report.html')}")
    script = "return [...document.querySelectorAll('#throughput .name')].map((e) => [e.textContent, getComputedStyle(e).fill])"
    drawn = {name: "#" + bytes(map(int, re.findall(r"\d+", fill))).hex() for name, fill in browser.execute_script(script)}
    assert drawn == {label.get_text(): to_hex(str(label.get_color())) for label in labels}
    assert "hf · sampled" in drawn


def test_more_lines_than_names_fit_have_a_key_that_points_them_out(browser: Any, tmp_path: Path) -> None:
    browser.get(f"file://{page_of(tmp_path, synthetic.sweep(hardware=[f'machine {i}' for i in range(20)], output_tokens=[11]))}")
    keys = browser.find_elements("css selector", "#throughput .key button")
    assert len({key.text for key in keys}) == 20
    looks = (
        "return new Set([...document.querySelectorAll('#throughput .series')].map((g) => g.outerHTML.replace(/[\\d.]+ [\\d.]+/g, ''))).size"
    )
    assert browser.execute_script(looks) >= 7
    spread = "return [...document.querySelectorAll('#throughput .bar')].filter((bar) => getComputedStyle(bar).display !== 'none').length"
    assert browser.execute_script(spread) == 0  # twenty over each other say nothing
    browser.execute_script("arguments[0].focus()", keys[3])
    assert browser.execute_script(spread) == 1
    assert browser.execute_script("return document.querySelectorAll('#throughput .series.faint').length") == 19


@pytest.mark.parametrize("widest", [1.0001, 1.3, 4.0, 300.0, 1e5])
@pytest.mark.parametrize("least", [3e-5, 0.9, 57.0, 4000.0])
def test_an_axis_has_round_ticks_in_the_words_of_the_pictures_and_not_too_many(
    browser: Any, tmp_path: Path, least: float, widest: float
) -> None:
    latencies_s = [least, least * widest**0.5, least * widest]
    rows = synthetic.sweep(output_tokens=[11], batch_size=[1, 2, 4])
    measured = [{**row, "latency_s": s, "latencies_s": [s]} for row, s in zip(rows, latencies_s, strict=True)]
    browser.get(f"file://{page_of(tmp_path, measured)}")
    script = "return [...document.querySelectorAll('#latency .grid')].map((line) => line.nextSibling.textContent)"
    ticks = browser.execute_script(script)
    assert 2 <= len(ticks) <= 9
    units = {"µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
    values = [float(tick.split(" ")[0]) * units[tick.split(" ")[1]] for tick in ticks]
    assert values == sorted(set(values))
    assert all(float(format_seconds(value).split(" ")[0]) == float(tick.split(" ")[0]) for value, tick in zip(values, ticks, strict=True))


def test_a_typed_limit_finds_the_highest_throughput_that_keeps_it(browser: Any, tmp_path: Path) -> None:
    rows = synthetic.sweep(framework=["hf", "pace"], output_tokens=[101])
    browser.get(f"file://{page_of(tmp_path, rows)}")
    ok = [row for row in rows if row["latency_s"] <= 1.7]
    best = max(ok, key=lambda row: row["output_tok_s"])
    browser.find_element("id", "limit").send_keys("1.7")
    assert text(browser, "answer").startswith(f"Best: {best['framework']}, batch {best['batch_size']}, ")
    browser.find_element("id", "limit").clear()
    browser.find_element("id", "limit").send_keys("0.001")
    assert text(browser, "answer").startswith("Nothing shown is that fast")


def test_the_table_sorts_and_the_keyboard_walks_through_the_points(browser: Any, tmp_path: Path) -> None:
    browser.get(f"file://{page_of(tmp_path, synthetic.sweep(most_tokens=900))}")
    browser.find_element("css selector", "#results th[data-k=output_tok_s] button").click()
    header = browser.find_element("css selector", "#results th[data-k=output_tok_s]")
    assert header.get_attribute("aria-sort") == "ascending"
    chart = browser.find_element("css selector", "#latency svg")
    browser.execute_script("arguments[0].focus()", chart)
    chart.send_keys("\ue014")  # arrow right
    assert text(browser, "tip")
    assert browser.execute_script("return document.querySelectorAll('tr.on').length") == 1
    assert browser.execute_script("return document.querySelectorAll('#latency .cross').length") > 0


def test_dark_paper_has_lighter_lines(browser: Any, tmp_path: Path) -> None:
    browser.get(f"file://{page_of(tmp_path, synthetic.sweep(framework=['hf', 'pace'], output_tokens=[11]))}")
    color = "return getComputedStyle(document.querySelector('#latency .line')).stroke"
    light = browser.execute_script(color)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]})
    assert browser.execute_script(color) != light
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


def test_an_evil_name_does_nothing(browser: Any, tmp_path: Path) -> None:
    rows = synthetic.sweep(model=[EVIL, "b"])
    browser.get(f"file://{page_of(tmp_path, [{**row, 'noisy': True, 'noise': [EVIL]} for row in rows])}")
    browser.find_element("id", "limit").send_keys("9")
    assert browser.title == "Inference benchmark: made-up"
    assert browser.execute_script("return document.images.length") == 0
    assert EVIL in text(browser, "best")


def test_published_curves_stand_beside_the_measured_ones_and_yield_to_the_filters(browser: Any, tmp_path: Path) -> None:
    rows = synthetic.sweep(name="open-models", model=["MPT-7B", "LLaMA-7B"], input_tokens=[512], output_tokens=[64])
    browser.get(f"file://{page_of(tmp_path, rows)}")
    curves = "return document.querySelectorAll('#throughput .published .line').length"
    assert browser.get_log("browser") == []
    assert browser.execute_script(curves) == 6
    choose(browser, "model", "MPT-7B")
    assert browser.execute_script(curves) == 1
    captions = browser.find_elements("css selector", "figcaption")
    assert all("published by somebody else" in caption.text for caption in captions)


def test_a_reason_for_noise_is_told_to_its_end(browser: Any, tmp_path: Path) -> None:
    reason = "other processes took 12 % of the CPU time while the third repeat ran, and the clock was 7 % under its median"
    rows = [{**row, "noisy": True, "noise": [reason]} for row in synthetic.sweep()]
    browser.get(f"file://{page_of(tmp_path, rows)}")
    chart = browser.find_element("css selector", "#latency svg")
    browser.execute_script("arguments[0].focus()", chart)
    chart.send_keys("\ue014")  # arrow right
    assert reason in text(browser, "tip")


def test_the_saved_csv_holds_what_is_shown(browser: Any, tmp_path: Path) -> None:
    browser.get(f"file://{page_of(tmp_path, synthetic.sweep(output_tokens=[11]))}")
    script = """
        const made = []; const real = URL.createObjectURL;
        URL.createObjectURL = (blob) => { made.push(blob); return real.call(URL, blob); };
        HTMLAnchorElement.prototype.click = () => {};
        document.getElementById('csv').click();
        made[0].text().then(arguments[0]);
    """
    lines = browser.execute_async_script(script).splitlines()
    assert lines[0].startswith("sweep,model,framework,hardware,dtype,input_tokens,output_tokens,batch_size,latency_s")
    assert len(lines) == 1 + 4
    assert lines[1].startswith('"made-up","LLaMA-7B","hf","1xA100-80GB","bf16","128","11","1"')


def test_it_is_readable_dark_narrow_and_printed(browser: Any, tmp_path: Path) -> None:
    browser.get(f"file://{page_of(tmp_path, synthetic.sweep())}")
    media = "Emulation.setEmulatedMedia"
    browser.execute_cdp_cmd(media, {"features": [{"name": "prefers-color-scheme", "value": "dark"}]})
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 29)"
    browser.execute_cdp_cmd(media, {"media": "print", "features": []})
    shown = "return getComputedStyle(document.getElementById(arguments[0])).display"
    assert browser.execute_script(shown, "csv") == "none"
    heads = "return [...document.querySelectorAll('#results th, #results th *')].map((e) => getComputedStyle(e).display)"
    assert {*browser.execute_script(heads)} == {"table-cell", "contents"}  # a page's head is repeated on the next without its boxes
    assert browser.execute_script(shown, "finder") == "none"  # without a limit it says nothing
    browser.execute_cdp_cmd(media, {"media": "", "features": []})
    browser.find_element("id", "limit").send_keys("9")
    browser.execute_cdp_cmd(media, {"media": "print", "features": []})
    assert browser.execute_script(shown, "finder") == "block"
    browser.execute_cdp_cmd(media, {"media": "", "features": []})
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": False})
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 400
    scale = "const svg = document.querySelector('#latency svg'); return svg.clientWidth / svg.viewBox.baseVal.width"
    assert browser.execute_script(scale) == pytest.approx(1, abs=0.01)  # letters as large as elsewhere
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
