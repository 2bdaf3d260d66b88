"""Peak memory of this process while a node runs. Linux keeps it, and sets it back when asked to."""

import re
from pathlib import Path

_PROCESS = Path("/proc/self")


def reset_peak() -> None:
    """Set the peak back to what the process holds now; does nothing where that is not possible."""
    try:
        (_PROCESS / "clear_refs").write_text("5")
    except OSError:
        return


def read_peak_bytes() -> int | None:
    """Return the most memory that the process held since `reset_peak`; None where that is not known."""
    try:
        found = re.search(r"^VmHWM:\s*(\d+) kB", (_PROCESS / "status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found.group(1)) * 1024 if found else None
