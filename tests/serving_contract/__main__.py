"""Runs the contract against a server at any address, for instance TF Serving's own image.

    python -m tests.serving_contract write FOLDER [--seen PATH]
    python -m tests.serving_contract flags FOLDER SETUP
    python -m tests.serving_contract run FOLDER --server HOST:PORT [--rest HOST:PORT] [--setup NAME]

`write` writes models, configurations and certificates; PATH is the folder as the server sees it, when that
is a container. `flags` prints the flags for a server's start. `run` sends the cases of one setup.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.serving_contract.setups import SETUPS, make_flags, write_folder


def main() -> int:
    """Do what the command line says; return 1 if a case failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.serving_contract")
    commands = parser.add_subparsers(dest="command", required=True)
    write, flags, run = (commands.add_parser(name) for name in ("write", "flags", "run"))
    for command in (write, flags, run):
        command.add_argument("folder", type=Path, help="the contract's folder on this machine")
    write.add_argument("--seen", help="its path as the server sees it")
    flags.add_argument("setup", choices=SETUPS)
    run.add_argument("--server", required=True, help="address of gRPC")
    run.add_argument("--rest", help="address of REST; port 8501 of the same host when not given")
    run.add_argument("--setup", choices=SETUPS, default="main", help="the setup it was started with")
    run.add_argument("--only", default="", help="only cases whose name has this text")
    given = parser.parse_args()
    if given.command == "write":
        write_folder(given.folder, given.seen)
        return 0
    if given.command == "flags":
        print(" ".join(make_flags(given.setup, (given.folder / "seen").read_text(encoding="utf-8"))))
        return 0
    if not given.server:
        parser.error("--server: expected HOST:PORT of gRPC, got nothing; with make, SERVER=host:port")
    if not (given.folder / "seen").is_file():
        parser.error(
            f"{given.folder}: expected the contract's folder, got none; write it: make conformance-models"
        )
    return _run(given)


def _run(given: argparse.Namespace) -> int:
    from tests.serving_contract.client import Server
    from tests.serving_contract.table import list_cases

    rest = given.rest or f"{given.server.rpartition(':')[0]}:8501"
    server = Server(given.server, rest, given.folder, is_secure=given.setup == "options")
    cases = [case for case in list_cases(given.setup) if given.only in case.name]
    failed = 0
    for case in cases:
        problem = server.find_problem(case)
        if problem is not None:
            failed += 1
            print(f"FAILED {type(case).__name__} {case.name}\n    {problem}")
    print(f"{len(cases) - failed} of {len(cases)} cases passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
