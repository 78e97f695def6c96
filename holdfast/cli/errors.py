"""Errors for people: one line that says what, where and what to do; never a traceback."""

from __future__ import annotations

import click


class UserError(click.ClickException):
    """A fault the user can mend. Exit code 1; the message is all that is shown."""

    exit_code = 1

    def show(self, file: object = None) -> None:
        click.echo(f"holdfast: {self.message}", err=True)
