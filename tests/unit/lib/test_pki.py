"""A certificate and its key belong together whenever they are read, and what is wrong with them is made anew."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from holdfast.lib import pki


def test_whoever_reads_while_they_are_replaced_finds_a_pair(tmp_path: Path) -> None:
    ca = pki.create_ca()
    pki.save(tmp_path, "serving", pki.issue_server(ca, "node", ["localhost"]))
    others = [pki.issue_server(ca, "node", ["localhost"]) for _ in range(2)]
    enough = threading.Event()

    def replace() -> None:
        while not enough.is_set():
            for each in others:
                pki.save(tmp_path, "serving", each)

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        for _ in range(200):
            pki.server_context(pki.load(tmp_path, "serving"), ca.certificate, tmp_path)  # raises when they are no pair
    finally:
        enough.set()
        writer.join()


def test_a_second_start_keeps_what_fits_and_adds_a_host(tmp_path: Path) -> None:
    first = pki.ensure_pki(tmp_path, ["localhost"])
    again = pki.ensure_pki(tmp_path, ["localhost"])
    assert again == first
    wider = pki.ensure_pki(tmp_path, ["localhost", "127.0.0.1"])
    assert (wider.ca, wider.admin, wider.token_key) == (first.ca, first.admin, first.token_key)
    assert wider.server != first.server


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"serving\.pem is missing"):
        pki.load(tmp_path, "serving")
