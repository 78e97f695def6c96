"""Image references in one spelling: ``nginx`` is ``docker.io/library/nginx:latest``."""

from __future__ import annotations

import re

_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_DOMAIN = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*(?::[0-9]+)?"
    r"|\[[0-9a-fA-F:]+\](?::[0-9]+)?"
)
MAX_NAME = 255


def normalise(reference: str) -> str:
    """With domain, path and either tag or digest (which wins over a tag). Raises ValueError."""
    rest, at, digest = reference.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise ValueError(f"image {reference!r}: {digest!r} is not a sha256 digest")
    domain, path = _split_domain(rest)
    path, colon, tag = path.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise ValueError(f"image {reference!r}: {tag!r} is not a tag")
    if not path or not all(_COMPONENT.fullmatch(part) for part in path.split("/")):
        upper = " (names are lower case)" if path.lower() != path else ""
        raise ValueError(f"image {reference!r}: {path!r} is not a repository name{upper}")
    if not _DOMAIN.fullmatch(domain):
        raise ValueError(f"image {reference!r}: {domain!r} is not a host name")
    if domain == "docker.io" and "/" not in path:
        path = f"library/{path}"
    name = f"{domain}/{path}"
    if len(name) > MAX_NAME:
        raise ValueError(f"image {reference!r}: the name is longer than {MAX_NAME} characters")
    return f"{name}@{digest}" if digest else f"{name}:{tag or 'latest'}"


def _split_domain(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first or first.lower() != first):
        return ("docker.io" if first == "index.docker.io" else first), rest
    return "docker.io", name


def familiar(name: str) -> str:
    """A normalised name as people write it: ``nginx:1.9.1``."""
    return name.removeprefix("docker.io/").removeprefix("library/")
