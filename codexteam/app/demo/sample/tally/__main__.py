"""The command line."""

import sys

from tally.money import format_amount, parse_amount


def main(arguments: list[str]) -> int:
    """Print the total of a file with one amount a line."""
    if len(arguments) != 1:
        print("usage: python3 -m tally FILE", file=sys.stderr)
        return 2
    with open(arguments[0], encoding="utf-8") as lines:
        print(format_amount(sum(parse_amount(line) for line in lines if line.strip())))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
