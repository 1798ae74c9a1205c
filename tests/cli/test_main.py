import builtins
import io
import subprocess
import sys
from typing import Any

import pytest

from trio_mcp import __main__, __version__


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    monkeypatch.setattr(sys, "argv", ["trio-mcp", *arguments])
    with pytest.raises(SystemExit) as caught:
        __main__.main()
    return caught.value.code


def test_it_runs_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"trio_mcp {__version__}\n"


def test_what_stdout_cannot_encode_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    stdout = io.TextIOWrapper(buffer, encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stdout)
    assert run_main(monkeypatch, "--version") == 0
    stdout.write("ä")
    stdout.flush()
    assert buffer.getvalue().endswith(b"\\xe4")


def test_stdout_may_be_of_any_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert run_main(monkeypatch, "--version") == 0


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    for name in [name for name in sys.modules if name == missing or name.startswith(f"{missing}.")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.startswith("trio_mcp.cli.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    assert run_main(monkeypatch, "--version") == 2
    captured = capsys.readouterr()
    assert captured.err == "the trio-mcp command needs more packages: pip install 'trio_mcp[cli]'\n"
    assert captured.out == ""


def test_another_missing_module_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "trio_mcp.cli.app", raising=False)
    monkeypatch.setitem(sys.modules, "trio_mcp.cli.exits", None)
    with pytest.raises(ModuleNotFoundError, match="cli.exits"):
        __main__.main()


def test_ctrl_c_while_it_is_still_importing_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(name: str, *rest: Any, **named: Any) -> Any:
        if "cli.app" in name:
            raise KeyboardInterrupt
        return imported(name, *rest, **named)

    imported = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", interrupted)
    with pytest.raises(SystemExit) as caught:
        __main__.main()
    assert caught.value.code == 130


def test_python_m_and_a_light_import() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "trio_mcp", "--version"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"trio_mcp {__version__}\n", "")
    code = "import sys, trio_mcp; print({'typer', 'rich', 'mcp', 'uvicorn'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stdout == "set()\n"
