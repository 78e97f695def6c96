"""``holdfast image``: works on DATA/images directly; a running node sees the change at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import click

from holdfast.cli.errors import UserError
from holdfast.node.images import ImageStore
from holdfast.node.images import archive as archives
from holdfast.system.settings import Settings

T = TypeVar("T")


def load(settings: Settings, archive: Path) -> None:
    if not archive.exists():
        raise UserError(f"{archive}: no such file")
    for image in _guard(lambda: archives.load(_store(settings), archive)):
        click.echo(f"loaded {image.name}")


def build(settings: Settings, spec: Path, tags: list[str]) -> None:
    from holdfast.node.images.build import build_from_spec

    if not spec.exists():
        raise UserError(f"{spec}: no such file")
    store = _store(settings)
    image = _guard(lambda: build_from_spec(store, spec))
    click.echo(f"built {image.name}")
    for name in tags:
        _guard(partial(store.tag, image.name, name))
        click.echo(f"tagged {name}")


def list_images(settings: Settings) -> None:
    rows = [("NAME", "IMAGE ID", "SIZE")]
    rows += [(i.name, i.id.removeprefix("sha256:")[:12], f"{i.size / 1e6:.1f} MB") for i in _store(settings).list()]
    widths = [max(len(row[column]) for row in rows) + 3 for column in range(3)]
    for row in rows:
        click.echo("".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def tag(settings: Settings, source: str, target: str) -> None:
    _guard(lambda: _store(settings).tag(source, target))
    click.echo(f"tagged {target}")


def _store(settings: Settings) -> ImageStore:
    settings.make_data()
    return ImageStore(settings.data)


def _guard(act: Callable[[], T]) -> T:
    """Runs an act of the image store; its refusals become errors for people."""
    try:
        return act()
    except (ValueError, OSError, RuntimeError, LookupError) as error:
        raise UserError(str(error)) from error
