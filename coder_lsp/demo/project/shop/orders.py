"""Products and the orders that name them. Money is counted in cents, weight in grams."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Product:
    """Something on the shelf, known by its article number."""

    sku: str
    name: str
    price_cents: int
    weight_grams: int


@dataclass(frozen=True)
class OrderLine:
    """A number of pieces of one product."""

    product: Product
    quantity: int

    def price_cents(self) -> int:
        return self.product.price_cents * self.quantity

    def weight_grams(self) -> int:
        return self.product.weight_grams * self.quantity


@dataclass
class Order:
    """What one customer wants, line by line."""

    customer: str
    lines: list[OrderLine] = field(default_factory=list)

    def price_cents(self) -> int:
        return sum(line.price_cents() for line in self.lines)

    def weight_grams(self) -> int:
        return sum(line.weight_grams() for line in self.lines)

    def pieces(self) -> int:
        return sum(line.quantity for line in self.lines)
