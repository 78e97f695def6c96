"""What changed in an immutable spec, as a short unified diff for the error text.

Upstream shows a diff of its internal structs; we show one of the JSON the author wrote.
"""

from __future__ import annotations

import difflib
import json
from typing import Any


def changed(old: Any, new: Any) -> str:
    """Hunks with three lines around each change, without file names; ends with a newline."""
    before, after = (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).splitlines() for value in (old, new))
    lines = list(difflib.unified_diff(before, after, lineterm="", n=3))[2:]
    return "".join(line + "\n" for line in lines)
