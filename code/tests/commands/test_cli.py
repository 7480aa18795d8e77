"""``pftrack COMMAND``: the console entry finds every command and says what is wrong in one line."""

from __future__ import annotations

import sys

import pytest

from pftrack.commands import cli


def pftrack(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    """Exit status of the console script."""
    monkeypatch.setattr(sys, "argv", ["pftrack", *arguments])
    with pytest.raises(SystemExit) as left:
        cli.main()
    return left.value.code


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_the_overview_names_every_command_with_a_summary(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert pftrack(monkeypatch, *arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("usage: pftrack COMMAND")
    summaries = {line.split()[0]: line.split()[1:] for line in lines[2:]}
    assert list(summaries) == list(cli.COMMANDS) and all(summaries.values())


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_answers_help(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert pftrack(monkeypatch, name, "--help") == 0
    assert capsys.readouterr().out.startswith("usage: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "error: no command 'trian': one of data, train"),
        (["inspect", "nowhere.pth"], "error: no checkpoint 'nowhere.pth'"),
        (["config", "nowhere.py"], "error: config nowhere.py does not exist"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    assert pftrack(monkeypatch, *arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith(message) and said.count("\n") == 1
