"""Amounts as whole cents."""


def parse_amount(text: str) -> int:
    """Give the cents of a text such as `12.50` or `-3`."""
    sign = -1 if text.strip().startswith("-") else 1
    whole, _, cents = text.strip().lstrip("+-").partition(".")
    return sign * (int(whole or "0") * 100 + int((cents + "00")[:2]))


def format_amount(cents: int) -> str:
    """Give cents as a text such as `-3.00`."""
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100}.{abs(cents) % 100:02}"
