"""What Python raises for a zip that is cut off, damaged or made to harm: every decompressor has an error of its own."""

from __future__ import annotations

import lzma
import zipfile
import zlib

BROKEN_ZIP = (
    zipfile.BadZipFile,
    OSError,  # bzip2's too
    EOFError,
    zlib.error,
    lzma.LZMAError,
    NotImplementedError,  # a version or a compression that zipfile does not know
    RuntimeError,  # a password
    UnicodeDecodeError,  # in a name
)
