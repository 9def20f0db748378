"""The program of a fetch Job: brings weights from the Hugging Face hub onto a claim, whole and verified."""
