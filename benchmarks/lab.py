"""Every notebook in a real JupyterLab: open it in a headless Chromium, run all cells, use the explorer.

    python -m benchmarks.lab [--character B] [--profile smoke] [--pictures FOLDER]

Needs a Chromium (Debian: `apt install chromium`) and playwright (`.venv/bin/pip install playwright`). The notebooks are
copies that hold the parameters of the profile, as papermill injects them; the results go to a temporary folder. The
cheat rows are a notebook with a failing cell, which must not count as run, and a key that no slider gets.
"""

import argparse
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
import papermill
import yaml

from benchmarks.report import Row, finish
from metatalk_lib.core.artifacts import save_json
from metatalk_lib.core.params import STAGE_CONFIGS, character_params_path, load_params, profile_params_path
from metatalk_lib.core.paths import NOTEBOOKS_DIR, STAGES, ensure_dir, resolve_path
from metatalk_lib.visualization.coefficient_changes import random_changes
from metatalk_lib.visualization.coefficient_effects import label_coefficient

FAILING = "failing cell"
IS_READY = """() => {
    const context = window.jupyterapp?.shell.currentWidget?.context;
    return context?.isReady && context.sessionContext.session?.kernel?.status === 'idle';
}"""
RUN_ALL = "window.jupyterapp.commands.execute('notebook:run-all-cells')"
SAVE = "window.jupyterapp.commands.execute('docmanager:save')"
REDRAW_BAR_MS, REDRAW_LIMIT_MS = 100.0, 5000.0
# Leaves a promise of the time between the next press and a new picture of an element.
WATCH_PICTURE = """([selector, limit]) => {
    const image = document.querySelector(selector);
    let pressed = 0;
    for (const name of ['keydown', 'pointerdown'])
        addEventListener(name, () => { pressed = performance.now(); }, {once: true, capture: true});
    window.redrawn = new Promise(resolve => {
        setTimeout(() => resolve(limit), limit);
        const watch = new MutationObserver(() => {
            watch.disconnect();
            image.decode().then(() => resolve(performance.now() - pressed));
        });
        watch.observe(image, {attributes: true, attributeFilter: ['src']});
    });
}"""
READ_PICTURE = """async () => {
    const file = await fetch(document.querySelector('.explorer-render').src);
    return Array.from(new Uint8Array(await file.arrayBuffer())).join();
}"""
NEWS_SETTINGS = "@jupyterlab/apputils-extension/notification.jupyterlab-settings"
NOTEBOOK_SETTINGS = "@jupyterlab/notebook-extension/tracker.jupyterlab-settings"


def prepare_notebooks(folder: Path, outputs: Path, character: str, profile: str) -> None:
    """Copy the notebooks with the parameters of a character and profile, and one whose second cell fails."""
    files = character_params_path(character), profile_params_path(profile)
    values = load_params(*files, overrides={"outputs_dir": str(outputs)})
    for stage in STAGES:
        config = STAGE_CONFIGS[stage].from_values(values)
        papermill.execute_notebook(
            str(NOTEBOOKS_DIR / f"{stage}.ipynb"),
            str(folder / f"{stage}.ipynb"),
            parameters=config.model_dump(),
            prepare_only=True,
        )
    cells = [nbformat.v4.new_code_cell(source) for source in ("1", "1 / 0", "2")]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / f"{FAILING}.ipynb")


@contextmanager
def jupyterlab(folder: Path, settings: Path) -> Iterator[str]:
    """A JupyterLab over `folder`; gives its address, whose last part is the place for a notebook's name."""
    # all cells stay in the page, so that a widget far down can be found
    save_json(settings / NOTEBOOK_SETTINGS, {"windowingMode": "none"})
    save_json(settings / NEWS_SETTINGS, {"fetchNews": "false"})
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser"]
    command += [f"--ServerApp.root_dir={folder}", f"--ServerApp.port={port}", "--IdentityProvider.token="]
    command += [f"--LabApp.user_settings_dir={settings}"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{address}/api").close()
                break
            except OSError:
                time.sleep(0.5)
        yield f"{address}/lab/tree"
    finally:
        server.terminate()
        server.wait(30)


def run_in_lab(page: Any, address: str, notebook: Path, picture: Path) -> str:
    """Open a notebook, run all of its cells, save it.

    Returns:
        What went wrong, empty where every code cell ran without an error.
    """
    page.goto(f"{address}/{notebook.name}?reset")
    page.wait_for_function(IS_READY, timeout=60_000)
    page.evaluate(RUN_ALL)
    page.evaluate(SAVE)
    page.screenshot(path=str(picture))
    for number, cell in enumerate(json.loads(notebook.read_text("utf-8"))["cells"]):
        if cell["cell_type"] != "code":
            continue
        errors = [output["ename"] for output in cell["outputs"] if output["output_type"] == "error"]
        if errors or cell["execution_count"] is None:
            return f"cell {number}: {errors[0] if errors else 'did not run'}"
    return ""


def time_redraw(page: Any, press: Callable[[], None], picture: str = "render") -> float:
    """Milliseconds in the browser from a key or button press to a new, decoded picture of the explorer.

    Args:
        page: shows the explorer.
        press: presses one key or button.
        picture: which of the explorer's pictures.

    Returns:
        REDRAW_LIMIT_MS where no new picture comes in that time.
    """
    page.evaluate(WATCH_PICTURE, [f".explorer-{picture}", REDRAW_LIMIT_MS])
    press()
    return float(page.evaluate("window.redrawn"))


def time_slider(page: Any, explorer: Any) -> float:
    """Median milliseconds from a key on the explorer's first slider to a new picture."""
    explorer.locator(".explorer-sliders [role=slider]").first.focus()
    times = [time_redraw(page, partial(page.keyboard.press, "ArrowRight")) for _ in range(12)]
    print("slider to picture, ms:", *(f"{milliseconds:.0f}" for milliseconds in times), flush=True)
    return statistics.median(times[2:])  # the first ones compile and draw the strip


def explore(page: Any, picture: Path) -> list[Row]:
    """Use the explorer of the open notebook as a person would: sliders, scrubber, random, copy, reset."""
    explorer = page.locator(".coefficient-explorer")
    explorer.scroll_into_view_if_needed()
    scrubber = explorer.locator("[role=slider]").first

    def push(name: str) -> Callable[[], None]:
        return explorer.get_by_role("button", name=name, exact=True).click

    page.evaluate("document.activeElement.blur()")
    untouched = time_redraw(page, partial(page.keyboard.press, "ArrowRight"))
    fitted = page.evaluate(READ_PICTURE)
    median = time_slider(page, explorer)
    time_redraw(page, push("reset"))
    is_random = time_redraw(page, push("random")) < REDRAW_LIMIT_MS
    explorer.get_by_text("random expression, seed 0").wait_for()
    for group in ("illumination", "rotation", "expression"):
        push(group)()
        explorer.get_by_role("button", name=label_coefficient(group, 0), exact=True).wait_for()
    push("copy as YAML")()
    page.wait_for_function("document.querySelector('.coefficient-explorer textarea').value != ''")
    explorer.screenshot(path=str(picture))
    copied = yaml.safe_load(explorer.locator("textarea").input_value())
    is_copied = copied == {"frame_id": 0, "expression": random_changes("expression", 0)}
    time_redraw(page, push("reset"))
    is_reset = page.evaluate(READ_PICTURE) == fitted
    time_redraw(page, push("apply YAML"))
    is_applied = page.evaluate(READ_PICTURE) != fitted
    scrubber.focus()
    is_scrubbed = time_redraw(page, partial(page.keyboard.press, "ArrowRight"), "original") < REDRAW_LIMIT_MS
    return [
        Row("slider to new picture in the browser, median", median, "ms", "<=", REDRAW_BAR_MS),
        Row("a key beside the sliders to new picture (cheat)", untouched, "ms", "<=", REDRAW_BAR_MS, is_cheat=True),
        Row("random draws another face and prints its seed", is_random, "", ">=", 1),
        Row("pages turned, the copied YAML holds just what was drawn", is_copied, "", ">=", 1),
        Row("reset brings the fitted picture back", is_reset, "", ">=", 1),
        Row("applied YAML changes the picture again", is_applied, "", ">=", 1),
        Row("the scrubber shows another frame", is_scrubbed, "", ">=", 1),
    ]


def main() -> None:
    """Run the benchmark and exit with 1 when a notebook does not run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--character", default="B")
    parser.add_argument("--profile", default="smoke")
    parser.add_argument("--pictures", type=Path, default=resolve_path("outputs/bench/lab"))
    arguments = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        parser.error("playwright is missing. Run: .venv/bin/pip install playwright")
    if chromium is None:
        parser.error("there is no Chromium on the path. On Debian: apt install chromium")
    pictures, rows = ensure_dir(arguments.pictures), []
    with tempfile.TemporaryDirectory() as work, sync_playwright() as driver:
        folder = ensure_dir(Path(work) / "notebooks")
        prepare_notebooks(folder, Path(work) / "outputs", arguments.character, arguments.profile)
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(600_000)
        with jupyterlab(folder, Path(work) / "settings") as address:
            for name in (*STAGES, FAILING):
                problem = run_in_lab(page, address, folder / f"{name}.ipynb", pictures / f"{name}.png")
                print(f"{name}: {problem or 'ran'}", flush=True)
                rows.append(Row(f"{name} runs in JupyterLab", not problem, "", ">=", 1, is_cheat=name == FAILING))
                if name == "03_reconstruction":
                    rows += explore(page, pictures / "explorer.png")
        browser.close()
    sys.exit(finish("lab", rows))


if __name__ == "__main__":
    main()
