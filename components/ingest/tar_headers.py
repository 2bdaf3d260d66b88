"""Headers of tar archives that take no more memory than names need.

Python's tarfile reads an extended header (pax, GNU long names) whole, whatever size it tells: 3 MB of a
`.tar.gz` can tell of 3 GiB. Sparse files have tables as long as they like. Neither is found in archives of
images.
"""

import tarfile
from typing import Any

from components.base.errors import DataRefusedError

# Linux' longest path has 4,096 bytes; a pax header may also hold access lists and the like.
MAX_HEADER_BYTES = 1 << 20
_EXTENDED = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip


def bound_headers(archive: str) -> type[tarfile.TarInfo]:
    """Return the class of headers for one reading of an archive; archive: what messages call it."""

    class Header(tarfile.TarInfo):
        """Raises DataRefusedError for extended headers beyond MAX_HEADER_BYTES, and for sparse files."""

        global_bytes = 0

        # tarfile calls it for each header that it has read, before what belongs to it.
        def _proc_member(self, *arguments: Any) -> Any:
            if self.type == tarfile.GNUTYPE_SPARSE:
                raise _refused("a sparse file")
            if self.type in _EXTENDED:
                if self.type == tarfile.XGLTYPE:  # these add up
                    Header.global_bytes += self.size
                size = max(self.size, Header.global_bytes)
                if size > MAX_HEADER_BYTES:
                    raise _refused(f"a header of {size} bytes (at most {MAX_HEADER_BYTES} are read)")
            if self.size < 0:
                raise _refused(f"a member of {self.size} bytes")
            return super()._proc_member(*arguments)  # type: ignore[misc]

        def _refuse_sparse(self, *arguments: Any) -> None:
            raise _refused("a sparse file")

        # What tarfile calls for a pax header that tells of a sparse file.
        _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse_sparse

    def _refused(what: str) -> DataRefusedError:
        return DataRefusedError(
            f"{archive}: it holds {what}, which archives of images do not; unpack it yourself and give the "
            "folder"
        )

    return Header
