"""Which of several forms of an answer a client likes best, by its header `Accept` (RFC 9110, section 12.5.1)."""

from __future__ import annotations

from collections.abc import Sequence

from deepfake.serve.problems import Problem


def chosen(accept: str, media_types: Sequence[str]) -> str:
    """The media type of the highest quality; of equals the first one.

    A range that names a type more exactly decides over one that names it less, as in `application/*;q=0.1`.

    Raises:
        Problem: There is none that can be given.

    Example:
        >>> chosen("application/*;q=0.5, application/pdf", ["application/zip", "application/pdf"])
        'application/pdf'
    """
    ranges = dict(_range(part) for part in accept.split(",") if part.strip())

    def quality(media_type: str) -> float:
        named = (media_type, f"{media_type.split('/')[0]}/*", "*/*")
        return next((ranges[name] for name in named if name in ranges), 0.0)

    best = max(media_types, key=quality)
    if quality(best) <= 0:
        raise Problem("not-acceptable", f"One of {', '.join(media_types)} was expected in Accept.")
    return best


def _range(part: str) -> tuple[str, float]:
    """A media range without its parameters, and its quality."""
    name, *parameters = (word.strip().lower() for word in part.split(";"))
    quality = next((p.partition("=")[2] for p in parameters if p.startswith("q=")), "1")
    try:
        return name, float(quality)
    except ValueError:
        return name, 0.0
