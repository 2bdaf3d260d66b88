"""Which stack and which Python `make` picks."""

from __future__ import annotations

import importlib.util
import platform
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def setup_venv(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, on a machine with Linux on x86_64."""
    spec = importlib.util.spec_from_file_location("setup_venv", ROOT / "requirements/setup_venv.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    return module


@pytest.mark.parametrize(
    ("glibc", "asked", "picked"),
    [
        ("2.35", "", "1.16"),  # Ubuntu 22.04
        ("2.36", "", "1.16"),  # Debian 12
        ("2.39", "", "1.21"),  # Ubuntu 24.04
        ("2.41", "", "1.21"),  # Debian 13
        ("2.100", "", "1.21"),  # as numbers, not as text
        ("2.41", "1.16", "1.16"),
    ],
)
def test_glibc_decides_on_the_stack(
    setup_venv: ModuleType, monkeypatch: pytest.MonkeyPatch, glibc: str, asked: str, picked: str
) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", glibc))
    stack, why = setup_venv.pick_stack(asked)
    assert stack.name == picked
    assert ("STACK" if asked else glibc) in why


@pytest.mark.parametrize(
    ("libc", "asked", "says"),
    [
        (("glibc", "2.36"), "1.21", "needs glibc 2.39"),
        (("glibc", "2.36"), "1.20", "expected one of 1.16, 1.21"),
        (("", ""), "", "another C library"),  # musl
    ],
)
def test_an_impossible_stack_is_refused(
    setup_venv: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    libc: tuple[str, str],
    asked: str,
    says: str,
) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: libc)
    with pytest.raises(setup_venv.SetupError, match=says):
        setup_venv.pick_stack(asked)


def machine_with(
    setup_venv: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    pythons: dict[str, tuple[tuple[int, int, int], bool, bool]],
) -> None:
    """Makes the script see these Pythons only: name -> (version, has headers, has venv)."""
    found = {name: setup_venv.Python(f"/usr/bin/{name}", *what) for name, what in pythons.items()}
    monkeypatch.setattr(setup_venv, "inspect_python", found.get)


def test_the_first_python_that_fits_is_taken(setup_venv: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    machine_with(
        setup_venv,
        monkeypatch,
        {
            "python3": ((3, 12, 1), True, True),
            "python3.11": ((3, 11, 2), False, True),
            "python3.10": ((3, 10, 4), True, True),
        },
    )
    old, new = setup_venv.STACKS["1.16"], setup_venv.STACKS["1.21"]
    assert setup_venv.pick_python(old, "").version == (3, 10, 4)  # 3.12 is too new, 3.11 has no headers
    assert setup_venv.pick_python(new, "").version == (3, 12, 1)
    assert setup_venv.pick_python(old, "python3.10").version == (3, 10, 4)


def test_what_is_missing_is_named(setup_venv: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    pythons = {"python3": ((3, 13, 5), False, True), "python3.11": ((3, 11, 2), True, False)}
    machine_with(setup_venv, monkeypatch, pythons)
    with pytest.raises(setup_venv.SetupError) as raised:
        setup_venv.pick_python(setup_venv.STACKS["1.21"], "")
    assert str(raised.value).splitlines() == [
        "TFX 1.21 needs Python 3.11 to 3.13 with its headers and venv; found: "
        "python3 (3.13.5) has no Python.h: python3-dev is missing; "
        "python3.11 (3.11.2) cannot make a venv: python3-venv is missing.",
        "On Debian and Ubuntu: apt-get install python3-dev python3-venv g++ make",
        "A Python that is not on PATH: make PYTHON=/path/to/python3.11",
    ]


def test_a_missing_compiler_is_named(setup_venv: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(setup_venv.SetupError, match=r"g\+\+"):
        setup_venv.check_compiler(setup_venv.STACKS["1.16"])


def test_this_python_is_seen_as_it_is(setup_venv: ModuleType) -> None:
    found = setup_venv.inspect_python(sys.executable)
    assert found.version == sys.version_info[:3]
    # The interpreter behind the venv, so that the venv can be removed and made anew with it.
    assert not Path(found.executable).is_relative_to(ROOT / ".venv")
    assert setup_venv.inspect_python("no-such-python") is None


def test_what_is_done_is_told_without_the_list_of_packages(
    setup_venv: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    script = "echo Resolved 3 packages in 1ms; echo Downloading x >&2; echo ' + numpy==1'; exit $0"
    setup_venv.call_telling("sh", "-c", script, "0")
    assert sorted(capsys.readouterr().out.splitlines()) == ["  Downloading x", "  Resolved 3 packages in 1ms"]
    with pytest.raises(subprocess.CalledProcessError, match="status 3"):
        setup_venv.call_telling("sh", "-c", script, "3")


@pytest.mark.parametrize("is_ci", [False, True])
def test_a_slow_download_is_not_silent_unless_nobody_waits(
    setup_venv: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_ci: bool
) -> None:
    monkeypatch.setattr(setup_venv, "QUIET_SECS", 0.2)
    monkeypatch.setenv("CI", "true" if is_ci else "")
    script = "echo Resolved 3 packages; sleep 0.5; printf 'Installed 3 packages'"
    setup_venv.call_telling("sh", "-c", script, progress=lambda line: f": after {line}")
    first, *between, last = capsys.readouterr().out.splitlines()
    assert (first, last) == ("  Resolved 3 packages", "  Installed 3 packages")
    assert set(between) == (set() if is_ci else {"  ... 0 s: after Resolved 3 packages"})


def test_fetched_packages_are_counted_in_the_cache_of_uv(
    setup_venv: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path))
    uv = ROOT / ".venv" / "bin" / "uv"
    if not uv.exists():
        pytest.skip("needs the checkout's own uv")
    assert setup_venv.count_fetched(uv) == 0
    (tmp_path / "archive-v0" / "numpy").mkdir(parents=True)
    assert setup_venv.count_fetched(uv) == 1
