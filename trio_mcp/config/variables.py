"""`${VAR}` in the strings of a configuration, in the ways that hosts write it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from .places import Place, shortened

__all__ = ["MAX_EXPANDED", "Variables"]

MAX_EXPANDED: Final = 1 << 22  # characters: a small file of many references is not to fill the memory

_REFERENCE: Final = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Variables:
    """What the references of one configuration stand for.

    `${NAME}` and `${env:NAME}` are variables of the environment, and `${NAME:-default}` has a default for
    one that is not set or empty, as in a shell. `${input:id}` is the answer to a question of VS Code's.
    `${workspaceFolder}`, `${workspaceFolderBasename}`, `${userHome}`, `${pathSeparator}` and `${/}` are those
    of VS Code and Cursor. `$${` is a `${` as it stands.

    Args:
        environment: the variables of the environment.
        inputs: the answers, by id.
        project: the workspace folder.
    """

    def __init__(self, environment: Mapping[str, str], inputs: Mapping[str, str], project: Path) -> None:
        self._environment = environment
        self._inputs = inputs
        home = environment.get("HOME") or environment.get("USERPROFILE") or str(Path.home())
        self._predefined = {
            "workspaceFolder": str(project),
            "workspaceFolderBasename": project.name,
            "userHome": home,
            "pathSeparator": os.sep,
            "/": os.sep,
        }
        self._left = MAX_EXPANDED

    def expand(self, value: object, place: Place) -> object:
        """`value` with all references in its strings replaced, those of keys apart. What they give is final.

        Raises:
            ConfigurationError: a variable that is not set, or a reference of a kind that we do not have.
        """
        if isinstance(value, str):
            return self._expand_text(value, place)
        if isinstance(value, list):
            return [self.expand(each, place / number) for number, each in enumerate(value)]
        if isinstance(value, dict):
            return {key: self.expand(each, place / key) for key, each in value.items()}
        return value

    def _expand_text(self, text: str, place: Place) -> str:
        pieces: list[str] = []
        end = 0
        for match in _REFERENCE.finditer(text):
            pieces += text[end : match.start()], self._replace(match, place)
            end = match.end()
        return "".join([*pieces, text[end:]])

    def _replace(self, match: re.Match[str], place: Place) -> str:
        if match[0] == "$${":
            return "${"
        if match[1] is None:
            raise place.error(
                "a `${` has no end, or another one in it; write `$${` for one that is meant as it stands"
            )
        value = self._resolve(match[1], place)
        self._left -= len(value)
        if self._left < 0:
            raise place.error(f"all variables together give more than {MAX_EXPANDED} characters")
        return value

    def _resolve(self, reference: str, place: Place) -> str:
        name, has_default, default = reference.partition(":-")
        if name in self._predefined:
            return self._predefined[name]
        kind, colon, rest = name.partition(":")
        if kind == "input" and colon:
            return self._answer(rest, place)
        if kind == "env" and colon and rest:
            name = rest
        elif not _NAME.fullmatch(name):
            raise place.error(
                f"there is no variable {shortened(f'${{{name}}}')}; "
                "write `$${` for a `${` that is meant as it stands"
            )
        value = self._environment.get(name)
        if has_default and not value:
            return default
        if value is None:
            raise place.error(f"the variable {name} is not set; ${{{name}:-…}} would give it a default")
        return value

    def _answer(self, key: str, place: Place) -> str:
        if key not in self._inputs:
            raise place.error(
                f"${{input:{key[:60]}}} is a question to a person, whom nobody asks here: "
                f"answer it by inputs={{{shortened(key)}: …}}, or by a `default` of the question"
            )
        return self._inputs[key]
