"""What a person reads of a tuning run: one record of it, as a page, as Markdown and as JSON."""
