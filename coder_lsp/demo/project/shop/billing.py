"""Invoices: discount, shipping and tax on top of an order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .orders import Order

VAT_PERCENT = 19
FREE_SHIPPING_FROM_CENTS = 50_00
SHIPPING_CENTS_PER_KILOGRAM = 1_20


@dataclass(frozen=True)
class Invoice:
    """What a customer has to pay for one order."""

    number: int
    order: Order
    discount_percent: int = 0

    def net_cents(self) -> int:
        price = self.order.price_cents()
        return price - price * self.discount_percent // 100

    def shipping_cents(self) -> int:
        """Shipping is by weight, each begun kilogram counts, and free from a certain price on."""
        if self.net_cents() >= FREE_SHIPPING_FROM_CENTS:
            return 0
        kilograms = -(-self.order.weight_grams() // 1000)
        return kilograms * SHIPPING_CENTS_PER_KILOGRAM

    def vat_cents(self) -> int:
        return (self.net_cents() + self.shipping_cents()) * VAT_PERCENT // 100

    def total_cents(self) -> int:
        return self.net_cents() + self.shipping_cents() + self.vat_cents()


def format_cents(cents: int) -> str:
    """``123456`` becomes ``1,234.56 EUR``."""
    return f"{cents / 100:,.2f} EUR"


def render(invoice: Invoice) -> str:
    """The invoice as plain text, one line for each line of the order."""
    rows = [f"Invoice {invoice.number} for {invoice.order.customer}", ""]
    rows += [
        f"{line.quantity:4} x {line.product.name:<30} {format_cents(line.price_cents()):>16}"
        for line in invoice.order.lines
    ]
    rows += ["", f"Total {format_cents(invoice.total_cents())}"]
    return "\n".join(rows)
