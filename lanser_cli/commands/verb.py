"""A verb on the command line: its page of help, and where its options are set from."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption
from typer.exceptions import TyperException
from typer.main import get_command

from lanser_cli import origin, provenance, surroundings
from lanser_cli.commands.groups import INPUT, ORDER, RUNNING
from lanser_cli.errors import UsageError
from lanser_cli.settings import FILE_VARIABLE, Key, Setting, in_toml, settings

_METAVARS = {int: "N", float: "X", Path: "PATH", str: "TEXT"}
_COLUMN = 30
"""Width of the left column of help, in which options and their values are."""

Row = tuple[str, str]
"""How an argument or option is written, and what it is."""


class Verbs(TyperGroup):
    """All verbs. Its own options are flags."""

    def get_params(self, ctx: Any) -> list[Any]:
        params = super().get_params(ctx)
        for param in params:
            param.default = bool(param.default)  # None takes pydantic to check: the shell waits
        return params


class Verb(TyperCommand):
    """A verb of the command line. Its `epilog` is examples, one command a line."""

    def __init__(self, name: str | None, **more: Any) -> None:
        super().__init__(name, **more)
        self.params += _of_all_verbs()
        params = cast("list[TyperArgument | TyperOption]", self.params)
        self._needed = [param for param in params if param.required]
        for param in params:
            param.required = False  # `invoke` asks for it, but not for --print-config
            param.metavar = param.metavar or _metavar(param)

    # ------------------------------------------------------------ help

    def format_options(self, ctx: Any, formatter: Any) -> None:
        for title, rows in self.sections(ctx):
            with formatter.section(title):
                (first, words), *rest = rows  # of one width in all sections
                formatter.write_dl([(first.ljust(_COLUMN), words), *rest], col_max=_COLUMN)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Examples"):
            for example in self.examples:  # to be copied, so never wrapped
                formatter.write(f"  {example}\n")

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        names = [
            str(param.metavar) if param in self._needed else f"[{param.metavar}]"
            for param in self.params
            if isinstance(param, TyperArgument)
        ]
        return ["[OPTIONS]", *names]

    def sections(self, ctx: Any) -> list[tuple[str, list[Row]]]:
        """Arguments and options by group, in the order of the groups."""
        found: dict[str, list[Row]] = {title: [] for title in ORDER}
        for param in cast("list[TyperArgument | TyperOption]", self.get_params(ctx)):
            if (record := param.get_help_record(ctx)) is None:
                continue
            is_argument = isinstance(param, TyperArgument)
            needed = "  [required]" if param in self._needed else ""
            title = param.rich_help_panel or (INPUT if is_argument else RUNNING).title
            names = str(param.metavar) if is_argument else record[0]
            found[title].append((names, record[1] + needed))
        return [(title, rows) for title, rows in found.items() if rows]

    @property
    def examples(self) -> list[str]:
        """Command lines that show what the verb is for."""
        return (self.epilog or "").strip().splitlines()

    # ------------------------------------------------------------ settings

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if ctx.resilient_parsing:
            return self._parse_for_completion(ctx, args)
        try:
            self._refuse_empty(ctx, args)
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = error.message.replace("Value error, ", "")
            if error.param is not None and (setting := _setting(ctx, error.param.name)):
                error.message += f" (set by {setting.origin})"
            raise

    def invoke(self, ctx: Any) -> Any:
        if ctx.meta.get("print_config"):
            print("\n".join(self._in_force(ctx)))
            return 0
        missing = [param for param in self._needed if ctx.params[param.name] in (None, ())]
        if missing:
            raise UsageError(f"{self.name} needs {_in_words(missing)} (see --help)")
        self._refuse_unread(ctx)
        if line := provenance.command_line():
            words = [*self._words(ctx), *_without_config(line[2:])]
            provenance.set_command_line([str(self.name), *words])
        if "threads" in ctx.params:
            surroundings.mention_load()
        return super().invoke(ctx)

    def _refuse_empty(self, ctx: Any, args: list[str]) -> None:
        """Refuse an empty word, as of a variable that is not set: `Path` takes it for this folder.

        Raises:
            UsageError: there is one.
        """
        given, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        for param in cast("list[TyperArgument | TyperOption]", self.params):
            value = given.get(param.name)
            if value == "" or (isinstance(value, list | tuple) and "" in value):
                raise UsageError(f"{_in_words([param])} is empty: write what it is to be")

    def _refuse_unread(self, ctx: Any) -> None:
        """Refuse what the command line gives and the mode, or the other options, do not read.

        What a file or a variable sets is for the verb as a whole, and may go unread.

        Raises:
            UsageError: naming the options.
        """
        given: dict[str, list[TyperArgument | TyperOption]] = {}
        for param, why in self._unread(ctx):
            if _is_given(ctx, param.name) and ctx.params.get(param.name) is not None:
                given.setdefault(why, []).append(param)
        for why, params in given.items():
            raise UsageError(f"{self.name} {why.format(_in_words(params))}: leave that out")

    def _unread(self, ctx: Any) -> Iterator[tuple[TyperArgument | TyperOption, str]]:
        """What is not read beside the other options, and why: words with a place for its name."""
        params = cast("list[TyperArgument | TyperOption]", self.params)
        for mode, reads in ctx.meta.get("modes", {}).items():
            if ctx.params[mode] is not None:
                read = {mode, *reads, "quiet", "verbose"}
                why = f"--{mode} does not read {{}}"
                yield from ((param, why) for param in params if param.name not in read)
        beside = ctx.meta.get("beside", {})
        for param in (param for param in params if param.name in beside):
            only_with, not_with = beside[param.name]
            if only_with and not any(self._is_on(ctx, words) for words in only_with):
                yield param, f"reads {{}} with {' or '.join(only_with)} alone"
            if not_with and self._is_on(ctx, not_with):
                yield param, f"{not_with} does not read {{}}"

    def _is_on(self, ctx: Any, words: str) -> bool:
        """Whether an option is on, as `--check-speech`, or has a value, as `--segment vad`.

        One whose default is a value, as that of `--fraction`, is on if it is given or another.
        """
        name, _, wanted = words.partition(" ")
        [param] = [param for param in self.params if name in param.opts]
        value = _plain(ctx.params[param.name])
        if wanted:
            return value == wanted
        is_default = value == _plain(param.default) and not _is_given(ctx, param.name)
        return not is_default and value not in (None, False, "none")

    def _parse_for_completion(self, ctx: Any, args: list[str]) -> list[str]:
        """Which options are given. To check values takes pydantic, and the shell waits."""
        given, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        for param in self.get_params(ctx):
            ctx.params[param.name], source = param.consume_value(ctx, given)
            ctx.set_parameter_source(param.name, source)
        return []

    @property
    def keys(self) -> Mapping[str, Key]:
        """What a file or a variable may set."""
        return {name: _key(name, param) for name, param in self._settable}

    @property
    def _settable(self) -> Iterator[tuple[str, TyperOption]]:
        for param in self.params:
            if isinstance(param, TyperOption) and param.expose_value:
                yield _long(param).lstrip("-"), param

    def _words(self, ctx: Any) -> Iterator[str]:
        """What a file or a variable set and this run reads, as the command line would."""
        unread = {param.name for param, _ in self._unread(ctx)}
        for _, param in self._settable:
            if _setting(ctx, param.name) is None or param.name in unread:
                continue
            value = _plain(ctx.params[param.name])
            for each in value if isinstance(value, list) else [value]:
                if each is not False:
                    yield from [_long(param)] if each is True else [_long(param), str(each)]

    def _in_force(self, ctx: Any) -> Iterator[str]:
        """The settings as a file could give them, and where each is from."""
        yield f"[{self.name}]"
        for name, param in self._settable:
            value, setting = _plain(ctx.params[param.name]), _setting(ctx, param.name)
            if value is None:
                yield f"# {name} is not set"
                continue
            by_user = "command line" if _is_given(ctx, param.name) else "default"
            origin = setting.origin if setting else by_user
            yield f"{name + ' = ' + in_toml(value):{_COLUMN}}  # {origin}"


def given_beside(
    inputs: Sequence[str], verb: str, function: Callable[..., Any]
) -> tuple[list[str], dict[str, Any]] | None:
    """The command line that made the one input, and what its options were set to.

    None where nothing beside the input says so, or says what this lanser cannot read.
    """
    found = origin.origin_in(origin.beside(Path(inputs[0]))) if len(inputs) == 1 else None
    words = [str(word) for word in (found or {}).get("argv") or ()]
    if words[1:2] != [verb]:
        return None
    app = typer.Typer(add_completion=False)
    app.command()(function)
    try:
        return words, get_command(app).make_context(verb, words[2:]).params
    except TyperException:
        return None


def _load(ctx: Any, value: Path | None) -> None:
    """Take what the file and the environment set for what the command line does not."""
    verb: Verb = ctx.command
    keys = {name: each.keys for name, each in ctx.parent.command.commands.items()}
    found = settings(str(verb.name), keys, value, os.environ)
    by_name = {param.name: found[name] for name, param in verb._settable if name in found}
    ctx.meta["settings"] = by_name
    ctx.default_map = {name: setting.value for name, setting in by_name.items()}


def _print(ctx: Any, value: bool) -> None:
    ctx.meta["print_config"] = value


def _shared(
    config: Annotated[
        Path | None,
        RUNNING.option(
            metavar="FILE",
            envvar=FILE_VARIABLE,
            is_eager=True,
            expose_value=False,
            callback=_load,
            help="Take what is not given here from this TOML file, or from LANSER_* variables.",
        ),
    ] = None,
    print_config: Annotated[
        bool,
        RUNNING.option(
            "--print-config",
            expose_value=False,
            callback=_print,
            help="Print what is in force, and where from, as such a file; do nothing else.",
        ),
    ] = False,
) -> None:
    """What all verbs have."""


@cache
def _of_all_verbs() -> list[Any]:
    app = typer.Typer(add_completion=False)
    app.command()(_shared)
    return get_command(app).params


def _setting(ctx: Any, name: str) -> Setting | None:
    """What a file or a variable set an option to, if the command line does not."""
    found: Setting | None = ctx.meta.get("settings", {}).get(name)
    return None if _is_given(ctx, name) else found


def _is_given(ctx: Any, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _long(param: TyperOption) -> str:
    return max(param.opts, key=len)


def _key(name: str, param: TyperOption) -> Key:
    kind = _kind(param)
    return Key(
        name,
        kind if kind in (bool, int, float) else str,
        several=param.multiple,
        shared=param.rich_help_panel == RUNNING.title,
    )


def _kind(param: TyperArgument | TyperOption) -> Any:
    """The type of a value; of an option that repeats, of one of its values."""
    kind = param.type_descriptor.annotation
    return get_args(kind)[0] if param.type_descriptor.is_list else kind


def _metavar(param: TyperArgument | TyperOption) -> str | None:
    choices = param.type_descriptor.choices
    if choices is not None:
        return f"[{'|'.join(str(_plain(choice)) for choice in choices)}]"
    return _METAVARS.get(_kind(param))


def _plain(value: Any) -> Any:
    """A value as text, number, truth, list of these, or None."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value


def _in_words(missing: Sequence[TyperArgument | TyperOption]) -> str:
    names = [param.opts[:1] if isinstance(param, TyperOption) else [] for param in missing]
    return " and ".join(
        " ".join([*name, param.metavar or ""]).rstrip()  # a flag has none
        for name, param in zip(names, missing, strict=True)
    )


def _without_config(words: Sequence[str]) -> Iterator[str]:
    """The words without the file whose settings are among them."""
    rest = iter(words)
    for word in rest:
        if word == "--config":
            next(rest, None)
        elif word == "--":
            yield from (word, *rest)
        elif not word.startswith("--config="):
            yield word
