"""A small shop: what it sells, what is left of it, and what it writes on its invoices."""
