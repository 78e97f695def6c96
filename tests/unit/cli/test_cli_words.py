"""What the command line says when there is nothing to talk to, nothing to end, and when it is asked what it can do."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from holdfast.cli import starting
from holdfast.cli.kube import Kube, Unreachable
from holdfast.cli.kubeconfig import Access
from holdfast.cli.main import main
from holdfast.system.settings import Settings, default_data


def test_an_api_that_is_away_is_named_with_the_way_out() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        server = f"http://127.0.0.1:{one.getsockname()[1]}"  # bound, but nobody listens
        with pytest.raises(Unreachable) as caught:
            Kube(Access(server, None, {}, "default")).request("GET", "/api")
    assert caught.value.message.startswith(f"the API at {server} does not answer (Connection refused); `holdfast status`")


def test_down_does_not_claim_to_have_stopped_what_was_not_there(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["down", "--data", str(tmp_path / "none")])
    assert done.exit_code == 0
    assert done.output == f"nothing runs on {tmp_path / 'none'}\n"


def test_up_without_root_is_refused_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the data directory is known as one of runc's, and --runtime simulated, which was meant then, is refused."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    done = CliRunner().invoke(main, ["up", "--detach", "--data", str(tmp_path / "d")])
    assert done.exit_code == 1
    assert "run it as root, or with --runtime simulated" in done.output
    assert not (tmp_path / "d").exists()


def test_a_start_that_failed_leaves_nothing_that_must_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``reset`` would start the node first, to end what it left, and that fails again."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    settings = Settings(tmp_path / "d")
    (settings.run / "netns").mkdir(parents=True)
    (settings.run / "netns" / "node").touch()  # where a namespace was to be mounted
    assert not starting.has_remains(settings)


def test_help_names_the_data_directory() -> None:
    for command in ("up", "down", "status", "why"):
        text = CliRunner().invoke(main, [command, "--help"], terminal_width=200).output
        assert f"[default: ({default_data()})]" in text
