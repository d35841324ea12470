"""Pages for people: templates in both languages."""
