"""The pages that are generated say what the code says."""

from __future__ import annotations

from deploys.checks import docker
from deploys.settings import OPTIONS
from tests.tools import options_doc, phases_doc


def test_the_page_of_options_is_the_table_in_the_code() -> None:
    assert options_doc.PATH.read_text() == options_doc.text(), "run: make docs"


def test_every_option_is_on_the_page() -> None:
    page = options_doc.PATH.read_text()
    assert [name for name in OPTIONS if f"| `{name}` |" not in page] == []


def test_every_option_says_what_it_takes_and_what_holds_without_it() -> None:
    rows = [line.split(" | ") for line in options_doc.text().splitlines() if line.startswith("| `")]
    assert len(rows) == len(OPTIONS)
    assert [row for row in rows if len(row) != 4 or not all(cell.strip(" |") for cell in row)] == []


def test_the_list_of_phases_is_the_one_in_the_code() -> None:
    page = phases_doc.PATH.read_text()
    assert phases_doc.BEGIN in page
    assert page == phases_doc.text(page), "run: make docs"


def test_every_key_that_daemon_json_may_not_have_is_in_troubleshooting() -> None:
    page = (phases_doc.PATH.parent / "troubleshooting.md").read_text()
    assert [key for key in docker.REFUSED_KEYS if f"`{key}`" not in page] == []
