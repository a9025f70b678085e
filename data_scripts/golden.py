"""Compare the toy world with its golden scenes, or write them (once for each RENDER_VERSION).

python data_scripts/golden.py            # compare, exit status 1 where this machine draws another world
python data_scripts/golden.py --write    # only after raising RENDER_VERSION: networks are then trained anew
"""

from __future__ import annotations

import argparse
import json
import sys

from PIL import Image

from labkit.data import golden
from labkit.data.world import RENDER_VERSION


def write() -> None:
    """Store hashes, counts and the strip of pictures beside the package's golden module."""
    prints, strip = golden.draw()
    content = {"render_version": RENDER_VERSION, "scenes": prints}
    golden.FILE.write_text(json.dumps(content, indent=None, separators=(",", ":")) + "\n", encoding="utf-8")
    Image.fromarray(strip).save(golden.FILE.with_suffix(".png"), optimize=True)


def main() -> int:
    """Read the command line; the exit status says whether the world is the golden one."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--write", action="store_true", help="store this machine's scenes as the golden ones")
    options = parser.parse_args()
    if options.write:
        if golden.FILE.exists() and json.loads(golden.FILE.read_text())["render_version"] == RENDER_VERSION:
            verdict = golden.compare()
            if not verdict.same:
                print(f"{verdict}. Raise RENDER_VERSION in labkit/data/world.py before writing.")
                return 1
        write()
    verdict = golden.compare()
    print(verdict)
    return 0 if verdict.fits else 1


if __name__ == "__main__":
    sys.exit(main())
