"""Pure numbers: diagnostics of chains, ECDF bands. Knows no model."""
