"""Files written whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> Path:
    """Write a file so that it is there whole or not at all; gives the path back.

    Text is written as UTF-8, as it is. Who may read the file is what the system's file mode mask says, as for
    any new file. Raises OSError where the folder cannot be written; the old file then stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}.part")
    try:
        with open(part, "xb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return path
