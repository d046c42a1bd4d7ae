"""The project that the tests edit: a small shop, plausible enough to be looked at in a screenshot."""

from __future__ import annotations

from pathlib import Path

from support.samples import ADD

PRICES = '''"""Prices in cents, with and without tax."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Price:
    cents: int
    currency: str = "EUR"

    def with_tax(self, rate: float) -> "Price":
        """The price a customer pays."""
        return Price(round(self.cents * (1 + rate)), self.currency)

    def times(self, count: int) -> "Price":
        return Price(self.cents * count, self.currency)
'''

CART = '''"""What a customer is about to buy."""

from prices import Price


class Cart:
    def __init__(self) -> None:
        self.items: list[tuple[str, Price, int]] = []

    def add(self, name: str, price: Price, count: int = 1) -> None:
        self.items.append((name, price, count))

    def total(self) -> Price:
        """The sum over all items, without tax."""
        return Price(sum(price.times(count).cents for _, price, count in self.items))

'''


def write_shop(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prices.py").write_text(PRICES, encoding="utf-8")
    (folder / "cart.py").write_text(CART, encoding="utf-8")
    return folder


def open_add(window, name="add.py"):
    """A file with ADD in front, the cursor behind ``return a ``."""
    (window.folder / name).write_text(ADD, encoding="utf-8")
    window.open(name)
    window.go(3, 14)


def type_plus(window):
    """In ADD: a key, and what the default model says to it."""
    window.type("+")
    assert window.wait_ghost().strip() == "b"
