export interface CartItem {
  sku: string;
  name: string;
  priceCents: number;
  quantity: number;
}

/** The customer's cart, as the page shows it. */
export class Cart {
  private items = new Map<string, CartItem>();

  /** Adds an item, or raises its quantity if the cart has it already. */
  add(item: CartItem): void {
    const present = this.items.get(item.sku);
    if (present) {
      present.quantity += item.quantity;
    } else {
      this.items.set(item.sku, { ...item });
    }
  }

  remove(sku: string): void {
    this.items.delete(sku);
  }

  /** Price of everything in the cart, in cents. */
  totalCents(): number {
    return [...this.items.values()].reduce((sum, item) => sum + item.priceCents * item.quantity, 0);
  }

  isEmpty(): boolean {
    return this.items.size === 0;
  }
}

export function formatCents(cents: number, currency = "EUR", locale = "en-IE"): string {
  return new Intl.NumberFormat(locale, { style: "currency", currency }).format(cents / 100);
}
