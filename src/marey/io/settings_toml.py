"""Settings as TOML: frozen dataclasses out, and changed by what a file or a command line says.

A nested dataclass is a table; where a field may hold one of several dataclasses, `kind` says which (`StepDecay` is
`step-decay`). TOML has no empty value: "none" stands for it where a field allows None.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from marey.core.errors import FormatError, InputError
from marey.io.text import read_text_limited

Settings = TypeVar("Settings")

NONE = "none"
_MOST_BYTES = 1 << 20
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def plain_settings(settings: Any) -> dict[str, Any]:
    """Every field of a dataclass as plain values: numbers, text, lists and nested dicts."""
    hints = get_type_hints(type(settings))
    plain = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        plain[field.name] = _plain(value)
        if len([hint for hint in get_args(hints[field.name]) if dataclasses.is_dataclass(hint)]) > 1:
            plain[field.name] = {"kind": _kind(type(value))} | plain[field.name]
    return plain


def toml_text(values: Mapping[str, Any]) -> str:
    """Word plain values as TOML, nested dicts as tables after all else.

    Raises:
        InputError: a value is none that TOML has.
    """
    return "\n".join(_lines(values, ())).strip() + "\n"


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a TOML file of settings.

    Raises:
        InputError: it cannot be read.
        FormatError: it is not TOML.
    """
    text = read_text_limited(path, most_bytes=_MOST_BYTES, longest_line=_MOST_BYTES >> 4)
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{Path(path)}: not a TOML file: {error}") from error


def assigned(words: str) -> dict[str, Any]:
    """Read `a.b=value` of a command line as a nested dict; what is no TOML value is text.

    Raises:
        InputError: there is no name or no equals sign.
    """
    name, equals, text = words.partition("=")
    keys = name.strip().split(".")
    if not equals or not all(keys):
        raise InputError(f"expected FIELD=VALUE such as training.steps=500, got '{words}'")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        value = text.strip()
    for key in reversed(keys):
        value = {key: value}
    return value  # type: ignore[no-any-return]


def changed(settings: Settings, values: Mapping[str, Any], *, where: str) -> Settings:
    """Copy settings with some fields set from plain values; what the values do not name stays.

    Nested dataclasses are changed field by field, lists and mappings are replaced.

    Args:
        settings: A frozen dataclass.
        values: By field, as `plain_settings` gives them.
        where: Begins the message of an error: a file, or an option.

    Raises:
        InputError: a field is unknown, or a value is not of its type or not allowed; the message names the field.
    """
    new: Settings = _changed(settings, type(settings), values, where)
    return new


def _changed(old: Any, cls: type[Any], values: Any, where: str) -> Any:
    """`old` with some fields changed, or a new `cls` of them where there is no old one."""
    if not isinstance(values, Mapping):
        raise InputError(f"{where}: expected a table of {cls.__name__}'s settings, got {values!r:.60}")
    hints = get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls) if field.init]
    new = {}
    for name, value in values.items():
        if name not in names:
            near = get_close_matches(name, names, n=1)
            guess = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(names)}"
            raise InputError(f"{where}: unknown setting '{name}'; {guess}")
        current = getattr(old, name) if old is not None else None
        new[name] = _typed(value, hints[name], current, f"{where}: {name}")
    try:
        return dataclasses.replace(old, **new) if old is not None else cls(**new)
    except TypeError as error:  # a field without a default is missing
        raise InputError(f"{where}: {error}") from error
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _typed(value: Any, hint: Any, old: Any, where: str) -> Any:
    """A plain value as what a field's annotation asks for."""
    if get_origin(hint) in (Union, UnionType):
        return _chosen(value, get_args(hint), old, where)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _changed(old if type(old) is hint else None, hint, value, where)
    if get_origin(hint) is tuple:
        return _tuple(value, get_args(hint), where)
    if get_origin(hint) is Literal:
        if value in get_args(hint):
            return value
        raise InputError(f"{where}: expected one of {', '.join(map(str, get_args(hint)))}, got {value!r:.60}")
    if isinstance(get_origin(hint), type) and issubclass(get_origin(hint), Mapping):
        if isinstance(value, Mapping):
            return {key: _typed(item, get_args(hint)[1], None, f"{where}.{key}") for key, item in value.items()}
        raise InputError(f"{where}: expected a table, got {value!r:.60}")
    return _scalar(value, hint, where)


def _chosen(value: Any, hints: tuple[Any, ...], old: Any, where: str) -> Any:
    """A value of a field that allows several types: None, one plain type, or dataclasses told apart by `kind`."""
    if NoneType in hints and value in (NONE, None):
        return None
    rest = [hint for hint in hints if hint is not NoneType]
    if not isinstance(value, Mapping) or not all(map(dataclasses.is_dataclass, rest)) or len(rest) == 1:
        failures = []
        for hint in rest:
            try:
                return _typed(value, hint, old, where)
            except InputError as error:
                failures.append(str(error))
        raise InputError(failures[0])
    kinds = {_kind(hint): hint for hint in rest}
    kind = value.get("kind", _kind(type(old)) if old is not None else None)
    if not isinstance(kind, str) or kind not in kinds:
        raise InputError(f"{where}: expected a 'kind' of {', '.join(kinds)}, got {kind!r:.60}")
    fields = {name: item for name, item in value.items() if name != "kind"}
    return _changed(old if type(old) is kinds[kind] else None, kinds[kind], fields, where)


def _tuple(value: Any, hints: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise InputError(f"{where}: expected a list, got {value!r:.60}")
    if len(hints) == 2 and hints[1] is Ellipsis:
        hints = (hints[0],) * len(value)
    if len(hints) != len(value):
        raise InputError(f"{where}: expected {len(hints)} values, got {len(value)}")
    items = zip(value, hints, strict=True)
    return tuple(_typed(item, hint, None, f"{where}[{place}]") for place, (item, hint) in enumerate(items))


def _scalar(value: Any, hint: Any, where: str) -> Any:
    if hint is Any:
        return value
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and type(value) is int and abs(value) < 1 << 1000:
        return float(value)
    if type(value) is hint:
        return value
    raise InputError(f"{where}: expected {getattr(hint, '__name__', hint)}, got {value!r:.60}")


def _kind(cls: type[Any]) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return plain_settings(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return NONE if value is None else str(value) if isinstance(value, Path) else value


def _lines(values: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    tables = {key: value for key, value in values.items() if isinstance(value, Mapping) and value}
    lines = [f"{_key(key)} = {_worded(value)}" for key, value in values.items() if key not in tables]
    for key, table in tables.items():
        place = (*path, key)
        lines += ["", f"[{'.'.join(map(_key, place))}]", *_lines(table, place)]
    return lines


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _worded(key)


def _worded(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (int, float)):
        return repr(value)  # inf and nan are TOML's words too
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_worded, value))}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_worded(item)}" for key, item in value.items()) + "}"
    raise InputError(f"settings: TOML has no {type(value).__name__}, got {value!r:.60}")
