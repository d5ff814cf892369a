"""Numbers as people write them."""

from __future__ import annotations


def plain(value: float) -> str:
    """Write a number for people: three significant digits, no exponent from 1e-4 to 1e6.

    >>> plain(0.0123456), plain(247.55), plain(1250000.0)
    ('0.0123', '248', '1.25e+06')
    """
    if value == 0:
        return "0"
    if 1e-4 <= abs(value) < 1e6:
        digits = f"{value:.3g}"
        return f"{value:.0f}" if "e" in digits else digits
    return f"{value:.2e}"


def measured(value: float) -> str:
    """Write a measured number: three significant digits, zeros kept, so that columns line up.

    >>> measured(0.0085), measured(0.69), measured(247.55), measured(0.0)
    ('0.00850', '0.690', '248', '0')
    """
    if value == 0 or not 1e-4 <= abs(value) < 1e6:
        return plain(value)
    digits = f"{value:#.3g}"
    return f"{value:.0f}" if "e" in digits else digits.rstrip(".")
