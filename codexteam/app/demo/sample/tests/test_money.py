import unittest

from tally.money import format_amount, parse_amount


class MoneyTest(unittest.TestCase):
    def test_amounts_come_back_as_they_were(self) -> None:
        for text in ("0.00", "12.50", "-3.07"):
            self.assertEqual(text, format_amount(parse_amount(text)))

    def test_short_forms_are_read(self) -> None:
        self.assertEqual([1200, 1250, 50], [parse_amount(text) for text in ("12", "12.5", ".5")])


if __name__ == "__main__":
    unittest.main()
