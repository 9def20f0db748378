"""From what people start engines with today to an MTPModel."""
