"""Files: written as a set, in one command, through stdin; a foreign file is never touched."""

from __future__ import annotations

from deploys.facts.files import HostFiles
from deploys.operations.files import WRITE, File, files, no_files

from .harness import Fails, Member, Shell, World
from .known import altered, host_files

UNIT = File("/etc/systemd/system/x.service", "[Unit]\nA=1\n")
KEY = File("/etc/kubernetes/pki/ca.key", "SECRET", "600", secret=True)


def test_nothing_to_do_is_no_command_and_says_so() -> None:
    world = World(facts={HostFiles: host_files(UNIT, KEY)})
    assert world.run(files, wanted=[UNIT, KEY]) == []
    assert world.noops == ["2 files are as they should be"]


def test_new_files_are_written_by_one_command_with_their_modes() -> None:
    world = World(facts={HostFiles: host_files()})
    (command,) = world.run(files, wanted=[UNIT, KEY])
    assert isinstance(command, Shell)
    assert command.text == WRITE.strip()
    assert command.written == {UNIT.path: Member("644", UNIT.content), KEY.path: Member("600", "SECRET")}


def test_empty_directories_are_made_and_recorded_where_files_are_written() -> None:
    (command,) = World(facts={HostFiles: host_files()}).run(files, wanted=[UNIT], directories=["/etc/a dir"])
    assert isinstance(command, Shell)
    assert command.text == f"{WRITE.strip()}\nmkdirs '/etc/a dir'"
    assert World(facts={HostFiles: host_files(UNIT)}).run(files, wanted=[UNIT], directories=["/etc/a"]) == []


def test_only_what_differs_is_written() -> None:
    have = host_files(UNIT, File("/etc/a", "old"))
    world = World(facts={HostFiles: have})
    (command,) = world.run(files, wanted=[UNIT, File("/etc/a", "new")])
    assert isinstance(command, Shell)
    assert command.written == {"/etc/a": Member("644", "new")}


def test_a_changed_mode_or_owner_is_mended() -> None:
    for changes in ({"mode": "777"}, {"owner": "1000:0"}):
        world = World(facts={HostFiles: altered(host_files(UNIT), UNIT.path, **changes)})
        (command,) = world.run(files, wanted=[UNIT])
        assert isinstance(command, Shell)
        assert command.written == {UNIT.path: Member("644", UNIT.content)}


def test_absent_files_of_ours_are_removed_and_struck_from_the_record() -> None:
    world = World(facts={HostFiles: host_files(UNIT, foreign=["/etc/theirs"])})
    commands = world.run(no_files, paths=[UNIT.path, "/etc/theirs", "/never"])
    assert commands == [
        Shell(
            "rm -f -- /etc/systemd/system/x.service && { "
            "sed 's|[^/]*$|.docker-multinode.new|' /var/lib/docker-multinode/files 2>/dev/null | "
            "tr '\\n' '\\0' | xargs -0r rm -f --; "
            "[ ! -f /var/lib/docker-multinode/directories ] || sort -ru /var/lib/docker-multinode/directories | "
            'while read -r d; do rmdir "$d" 2>/dev/null; done; true; '
            "[ ! -f /var/lib/docker-multinode/files ] || "
            "{ printf '%s\\n' /etc/systemd/system/x.service | grep -vxFf - /var/lib/docker-multinode/files > "
            "/var/lib/docker-multinode/files.new; [ $? -le 1 ] && sync /var/lib/docker-multinode/files.new && "
            "mv -f /var/lib/docker-multinode/files.new /var/lib/docker-multinode/files; } || "
            "{ rm -f /var/lib/docker-multinode/files.new; "
            "echo \"/var/lib/docker-multinode/files can't be written and stays as it was: "
            'free space on its disk and run again" >&2; false; }; }'
        )
    ]


def test_a_foreign_file_in_the_way_fails_the_host_and_nothing_is_written() -> None:
    world = World(facts={HostFiles: host_files(foreign=[UNIT.path])})
    assert world.run(files, wanted=[KEY, UNIT]) == [
        Fails(f"{UNIT.path} is there and was not written by docker-multinode; move it away first")
    ]


def test_a_secret_file_that_changed_since_its_reader_started_is_written_again() -> None:
    for since, writes in ((99, True), (100, False), (0, False)):
        here = World(facts={HostFiles: altered(host_files(KEY), KEY.path, changed=100)})
        assert bool(here.run(files, wanted=[KEY], since=since)) is writes


def test_the_plan_shows_a_new_file_in_full_but_never_a_secret() -> None:
    said = World(facts={HostFiles: host_files()}).says(files, wanted=[UNIT, KEY])
    assert "Will create /etc/systemd/system/x.service (mode 644)" in said
    assert "+ [Unit]\n" in said
    assert "+ A=1" in said
    assert "Will write /etc/kubernetes/pki/ca.key (mode 600, secret: content not shown)" in said
    assert "SECRET" not in said


def test_the_plan_shows_which_lines_change() -> None:
    have = host_files(File(UNIT.path, "[Unit]\nA=0\n"))
    said = World(facts={HostFiles: have}).says(files, wanted=[UNIT])
    assert f"Will change {UNIT.path}" in said
    assert "-A=0\n" in said
    assert "+A=1" in said
    assert " [Unit]" in said


def test_the_plan_names_a_mode_that_is_mended_and_a_file_that_goes() -> None:
    have = altered(host_files(UNIT, KEY), KEY.path, mode="644")
    world = World(facts={HostFiles: have})
    assert f"Will set {KEY.path} from 0:0 644 to 0:0 600" in world.says(files, wanted=[KEY])
    assert f"Will remove {UNIT.path}" in world.says(no_files, paths=[UNIT.path])


def test_without_diff_nothing_is_printed() -> None:
    assert World(facts={HostFiles: host_files()}, diff=False).says(files, wanted=[UNIT]) == ""
