"""Lists as part of a sentence, which stay short however much there is to list."""

from collections.abc import Iterable


def listed(items: Iterable[object], limit: int = 20, *, between: str = ", ", what: str = "") -> str:
    """Return the first `limit` items, and of those beyond it how many there are.

    Parameters
    ----------
    items : iterable
        Shown as `str` does.
    limit : int
    between : str
        Separates items.
    what : str
        Names those that are not shown, where that is not clear.

    Examples
    --------
    >>> listed("abcd", 2)
    'a, b and 2 more'
    >>> listed("abcd", 3, between="; ", what="letters")
    'a; b; c; and 1 more letters'
    """
    words = [str(it) for it in items]
    shown = between.join(words[:limit])
    if len(words) <= limit:
        return shown
    end = " " if between == ", " else between
    return f"{shown}{end}and {len(words) - limit:,} more{what and f' {what}'}"
