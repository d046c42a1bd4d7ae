"""How many pieces of each product are on the shelf."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .orders import Order


class OutOfStockError(Exception):
    """Fewer pieces are left than were asked for."""

    def __init__(self, sku: str, wanted: int, available: int) -> None:
        super().__init__(f"{sku}: {wanted} wanted, {available} available")
        self.sku = sku


class Inventory:
    """Stock levels by article number. Levels never fall below zero."""

    def __init__(self) -> None:
        self._levels: dict[str, int] = {}

    def receive(self, sku: str, quantity: int) -> None:
        """Put delivered pieces on the shelf."""
        self._levels[sku] = self._levels.get(sku, 0) + quantity

    def available(self, sku: str) -> int:
        return self._levels.get(sku, 0)

    def reserve(self, sku: str, quantity: int) -> None:
        """Take pieces off the shelf.

        Raises OutOfStockError, and takes nothing, if there are not enough.
        """
        available = self.available(sku)
        if available < quantity:
            raise OutOfStockError(sku, quantity, available)
        self._levels[sku] = available - quantity

    def reserve_order(self, order: Order) -> None:
        """Take everything in the order off the shelf, or nothing."""
        for line in order.lines:
            if self.available(line.product.sku) < line.quantity:
                raise OutOfStockError(line.product.sku, line.quantity, self.available(line.product.sku))
        for line in order.lines:
            self.reserve(line.product.sku, line.quantity)

    def running_low(self, threshold: int) -> list[str]:
        """Article numbers of which fewer than ``threshold`` pieces are left, in order."""
        return sorted(sku for sku, level in self._levels.items() if level < threshold)
