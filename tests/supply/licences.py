"""Lists the licences of the packages in the interpreter's environment, and fails for one that is not allowed.

    .venv/bin/python tests/supply/licences.py

It needs only the standard library, so that it runs in every environment that a lock file fills. A package
declares its licence as an SPDX expression, as classifiers, or as text; the first that exists counts.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageMetadata, distributions

PREFIX = "License :: "
ALLOWED = frozenset(
    {
        *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CNRI-Python"),
        *("ISC", "MIT", "MIT-0", "MIT-CMU", "MPL-2.0", "PSF-2.0", "Python-2.0", "Unlicense"),
        *("ZPL-2.1", "Zlib"),
        *("Apache Software License", "BSD License", "MIT License", "Python Software Foundation License"),
        *("Mozilla Public License 2.0 (MPL 2.0)", "ISC License (ISCL)", "The Unlicense (Unlicense)"),
    }
)  # fmt: skip
"""Permissive licences and MPL-2.0, by SPDX identifier or classifier. Another one needs a decision first."""
SPELLINGS = {
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "3-Clause BSD License": "BSD-3-Clause",
    "BSD": "BSD License",
}
"""Names in free text, with the one that is allowed."""
UNKNOWN = "no licence declared"


def declared(metadata: PackageMetadata) -> list[str]:
    """Return the licences that a package declares, as SPDX identifiers or names; all of them apply."""
    [expression] = metadata.get_all("License-Expression") or [""]
    if expression:
        return split_expression(expression)
    classifiers = [c for c in metadata.get_all("Classifier") or [] if c.startswith(PREFIX)]
    names = [c.rpartition(" :: ")[2] for c in classifiers if c.count(" :: ") > 1 or "OSI" not in c]
    if names:
        return names
    [text] = metadata.get_all("License") or [""]
    first_line = text.strip().partition("\n")[0]
    known = SPELLINGS.get(first_line, first_line)
    return split_expression(known) if re.search(" (AND|OR) ", known) else [known or UNKNOWN]


def split_expression(expression: str) -> list[str]:
    """Return the identifiers of an SPDX expression. Names with blanks that are allowed stay whole."""
    if expression in ALLOWED:
        return [expression]
    return [name for name in re.split(r"\s+(?:AND|OR|WITH)\s+|[()]", expression) if name.strip()]


def by_licence(packages: Iterable[PackageMetadata]) -> Mapping[str, list[str]]:
    """Return the names of the packages under each licence."""
    found: dict[str, list[str]] = defaultdict(list)
    for metadata in packages:
        for licence in sorted(set(declared(metadata))):
            found[licence].append(metadata["Name"])
    return {licence: sorted(found[licence], key=str.lower) for licence in sorted(found)}


def main() -> int:
    """Print a line for each licence; return 1 if one is not allowed."""
    found = by_licence(distribution.metadata for distribution in distributions())
    for licence, names in found.items():
        mark = "" if licence in ALLOWED else "NOT ALLOWED, decide in tests/supply/licences.py: "
        print(f"{mark}{licence} ({len(names)}): {', '.join(names)}")
    return int(not found.keys() <= ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
