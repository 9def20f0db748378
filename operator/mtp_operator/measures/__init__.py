"""What measurements are told in: the words that the API, the tuner and the bench have in common."""
