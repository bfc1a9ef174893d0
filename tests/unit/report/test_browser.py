"""The page in a real browser, where one is installed: what it shows is what was written, and it prints."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from strixfleet.findings.results import Report
from strixfleet.report import html_page


BROWSER = next(
    (found for name in ("chromium-headless-shell", "chromium") if (found := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium (Debian: chromium-headless-shell)")
PAGES = re.compile(rb"/Type\s*/Page[^s]")


@pytest.fixture
def page(report: Report, tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    path.write_text(html_page.render(html_page.page_of([report.to_json()])), encoding="utf-8")
    return path


def browse(page: Path, *arguments: str) -> str:
    argv = [
        str(BROWSER),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={page.parent / 'profile'}",
    ]
    done = subprocess.run(
        [*argv, *arguments, page.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout


def tags(text: str) -> list[str]:
    return re.findall(r"<([a-z0-9]+)[\s>/]", re.sub(r"<style>.*?</style>", "<style>", text, flags=re.DOTALL))


def test_the_browser_repairs_nothing(page: Path) -> None:
    assert tags(browse(page, "--dump-dom")) == tags(page.read_text(encoding="utf-8"))


def test_it_prints(page: Path) -> None:
    browse(page, f"--print-to-pdf={page.parent / 'report.pdf'}", "--no-pdf-header-footer")
    assert 1 <= len(PAGES.findall((page.parent / "report.pdf").read_bytes())) <= 4
