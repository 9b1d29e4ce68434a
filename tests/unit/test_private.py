"""Files on the control machine that hold secrets: whose they are, and what a failure leaves."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import Mock

import pytest

from deploys.private import private_file


def test_only_its_owner_can_read_it_from_the_first_moment(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with private_file(tmp_path / "key") as file:
            file.write(b"secret")
            assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    finally:
        os.umask(before)
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
    assert (tmp_path / "key").read_bytes() == b"secret"
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_what_is_there_is_kept_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    place = tmp_path / "key"
    place.write_text("theirs")
    with pytest.raises(FileExistsError), private_file(place):
        pass
    assert place.read_text() == "theirs"
    with private_file(place, replace=True) as file:
        file.write(b"new")
    assert place.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def _break_off(place: Path, replace: bool) -> None:
    with private_file(place, replace) as file:
        file.write(b"half")
        raise ConnectionError


@pytest.mark.parametrize("there", [False, True])
def test_a_failure_leaves_what_was_there(tmp_path: Path, there: bool) -> None:
    place = tmp_path / "key"
    if there:
        place.write_text("old")
    with pytest.raises(ConnectionError):
        _break_off(place, there)
    assert [path.read_text() for path in tmp_path.iterdir()] == (["old"] if there else [])


def test_nothing_has_its_name_before_it_is_whole(tmp_path: Path) -> None:
    with private_file(tmp_path / "key") as file:
        file.write(b"half")
        assert not (tmp_path / "key").exists()


def test_what_came_to_its_place_meanwhile_is_kept(tmp_path: Path) -> None:
    writing = private_file(tmp_path / "key")
    writing.__enter__().write(b"new")
    (tmp_path / "key").write_text("theirs")
    with pytest.raises(FileExistsError):
        writing.__exit__(None, None, None)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["theirs"]


def test_a_file_system_without_hard_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", Mock(side_effect=PermissionError))
    with private_file(tmp_path / "key") as file:
        file.write(b"whole")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("key", "whole")]
