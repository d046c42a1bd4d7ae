// Command export writes the stock list as CSV for the accountants.
package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"os"
)

type stockRow struct {
	SKU        string
	Name       string
	PriceCents int
	Quantity   int
}

func (r stockRow) valueCents() int {
	return r.PriceCents * r.Quantity
}

// formatCents writes 123456 as 1234.56.
func formatCents(cents int) string {
	return fmt.Sprintf("%d.%02d", cents/100, cents%100)
}

// writeCSV writes a header and one record for each row.
func writeCSV(w io.Writer, rows []stockRow) error {
	out := csv.NewWriter(w)
	if err := out.Write([]string{"sku", "name", "quantity", "value"}); err != nil {
		return err
	}
	for _, row := range rows {
		record := []string{row.SKU, row.Name, fmt.Sprint(row.Quantity), formatCents(row.valueCents())}
		if err := out.Write(record); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

func main() {
	rows := []stockRow{{SKU: "P-100", Name: "Pencil", PriceCents: 120, Quantity: 40}}
	if err := writeCSV(os.Stdout, rows); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
