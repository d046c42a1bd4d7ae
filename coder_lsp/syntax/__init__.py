"""What the structure of source text says. The only package that touches tree-sitter, and only when asked."""
