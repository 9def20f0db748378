"""What a release publishes, and how it is built."""
