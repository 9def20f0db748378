"""Pure builders of the objects that the operator creates, one file an object kind."""
