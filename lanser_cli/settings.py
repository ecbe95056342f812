"""What options are set to besides the command line: by a file, and by the environment."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lanser_cli import console
from lanser_cli.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE_VARIABLE = "LANSER_CONFIG"
LLM_KEY_VARIABLE = "LANSER_LLM_KEY"
"""The key for a server of language models: no option, so that no command line holds it."""

_PREFIX = "LANSER_"
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


@dataclass(frozen=True, slots=True)
class Key:
    """An option, as a file or a variable sets it.

    Attributes:
        name: on the command line, without the dashes.
        kind: `bool`, `int`, `float` or `str`.
        several: whether it may be given more than once.
        shared: whether it may be set for all verbs that have it at once.
    """

    name: str
    kind: type
    several: bool = False
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Setting:
    """The value of an option, and where it is from: `a.toml` or `LANSER_EVAL_BY`."""

    value: object
    origin: str


Keys = Mapping[str, Mapping[str, Key]]
"""All that can be set: verb → option → its key."""


def settings(
    verb: str, keys: Keys, file: Path | None, environment: Mapping[str, str]
) -> dict[str, Setting]:
    """What is set for a verb, by option. A variable goes before the file, a verb before all verbs.

    Raises:
        UsageError: the file cannot be read, or it or the environment sets what does not exist, or
            an option to what it cannot be; for other verbs, too.
    """
    found: dict[str, dict[str, Setting]] = {name: {} for name in keys}
    for settle in (_of_file(file, keys) if file else (), _of_environment(environment, keys)):
        for name, key, setting in settle:
            for each in [name] if name else [each for each in keys if key in keys[each]]:
                found[each][key] = setting
    return found[verb]


_Settled = Iterator[tuple[str, str, Setting]]
"""Verb (empty: all that have it), option and setting; what is for all verbs comes first."""


def _of_file(path: Path, keys: Keys) -> _Settled:
    read = _toml(path)
    origin = console.printable(str(path))
    shared = {name: key for of in keys.values() for name, key in of.items() if key.shared}
    for name, value in read.items():
        if isinstance(value, dict):
            _check_known(name, keys, f"{origin}: there is no verb [{name}]")
        else:
            _check_shared(name, shared, keys, origin)
            yield "", name, Setting(_checked(value, shared[name], f"{origin}: {name}"), origin)
    for verb, table in read.items():
        for name, value in table.items() if isinstance(table, dict) else ():
            _check_known(name, keys[verb], f"{origin}: [{verb}] has no option '{name}'")
            where = f"{origin}: {name} in [{verb}]"
            yield verb, name, Setting(_checked(value, keys[verb][name], where), origin)


def _of_environment(environment: Mapping[str, str], keys: Keys) -> _Settled:
    names = {_variable(key.name): ("", key) for of in keys.values() for key in of.values()}
    names = {name: (verb, key) for name, (verb, key) in names.items() if key.shared}
    names |= {
        _variable(verb, name): (verb, keys[verb][name]) for verb in keys for name in keys[verb]
    }
    ours = sorted(name for name in environment if name.startswith(_PREFIX))
    ours = [name for name in ours if name != LLM_KEY_VARIABLE]
    for name in ours:
        _check_known(name, [*names, FILE_VARIABLE], f"the variable {name} sets nothing")
    for name in sorted(set(ours) & names.keys(), key=lambda name: names[name][0]):
        (verb, key), value = names[name], environment[name]
        if value != console.ascii_safe(value):
            raise UsageError(f"{name}: '{console.ascii_safe(value)}' is not UTF-8")
        if value:  # an empty variable is as good as none
            yield verb, key.name, Setting([value] if key.several else value, name)


def _variable(*names: str) -> str:
    return _PREFIX + "_".join(names).replace("-", "_").upper()


def _toml(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # as Windows' editors write it
    except OSError as error:
        raise UsageError(f"--config: {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--config: {path}: this is not TOML: {error}") from error


def _check_known(name: str, known: Collection[str], complaint: str) -> None:
    """Refuse a name that is none, with the nearest, or with one that ends so."""
    if name in known:
        return
    name = name.removeprefix(_PREFIX)
    parts = {each.removeprefix(_PREFIX): each for each in known}
    near = [each for each in parts if each.endswith("_" + name)]
    near = near or difflib.get_close_matches(name, parts, 1)
    raise UsageError(complaint + (f"; did you mean {parts[near[0]]}?" if near else ""))


def _check_shared(name: str, shared: Collection[str], keys: Keys, origin: str) -> None:
    having = [verb for verb in keys if name in keys[verb]]
    if having and name not in shared:
        raise UsageError(f"{origin}: {name} goes into the table of a verb, such as [{having[0]}]")
    _check_known(name, shared, f"{origin}: no option '{name}' is for all verbs")


def _checked(value: object, key: Key, where: str) -> object:
    several = key.several and isinstance(value, list)
    kinds = (int, float) if key.kind is float else (key.kind,)
    for each in value if several and isinstance(value, list) else [value]:
        if not isinstance(each, kinds) or isinstance(each, bool) != (key.kind is bool):
            wanted = _WORDS[key.kind] + (", or a list of such" if key.several else "")
            raise UsageError(f"{where} is {each!r}, and must be {wanted}")
    if value == "" or (isinstance(value, list) and "" in value):
        raise UsageError(f"{where} is empty: write what it is to be, or leave it out")
    return value


def in_toml(value: object) -> str:
    """A value as TOML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(in_toml, value))}]"
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
