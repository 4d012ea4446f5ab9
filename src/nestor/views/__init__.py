"""Everything that a person looks at: terminal, pictures, pages."""
