"""The command line, built once: what is forked afterwards need not build it again."""

from __future__ import annotations

import functools

import typer.main

from lanser_cli import app

typer.main.get_command = functools.cache(typer.main.get_command)
typer.main.get_command(app.app)
