"""What a user sees: live progress, tables, and the same in a notebook."""
