"""The docs: links, words of code and commands, and the site that is built from them."""
