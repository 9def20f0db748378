"""The built-in prompt mix. Prompts are short: with a byte-level tokenizer a character is nearly a token."""

from collections.abc import Sequence
from typing import Final

SHORTEST_PASS: Final = 2
"""Requests of a pass at concurrency 1: four passes at 40 tok/s and 512 output tokens take 100 s."""

MIX: Final = (
    # Code, chat, summary and JSON in turn, so that the first two already are unlike each other.
    "Write a Python function that merges two sorted lists without sort(). Add type hints and three assertions.",
    "I am offered a bicycle that stood outside for two winters. What should I check before I say yes, and how?",
    "Summarise in three sentences: The library closed in 1974 after a flood. Volunteers dried 9,000 books in a gym and "
    "drove them through the villages in a bus until the new house opened.",
    "Turn this order into JSON with customer, items and due: Mrs Okafor wants twelve oak boards and a brush by 3 May.",
    "Here is a SQL table orders(id, customer, day, total). Query the three best customers of each month; comment it.",
    "Explain to a curious child why the sky is blue at noon and red in the evening, with one comparison from a pool.",
    "Give a title and three bullet points: The pump ran dry on Monday because a valve was closed for cleaning and the "
    "alarm was muted. Nobody was hurt; seven hours were lost. The valve has a lock now.",
    "Write a JSON array of six invented weather stations, each with id, city, height_m and its last three readings.",
)


def pass_prompts(concurrency: int) -> Sequence[str]:
    """The prompts of one pass: as many as are in flight, at least `SHORTEST_PASS`; the mix repeats if it must."""
    count = max(SHORTEST_PASS, concurrency)
    return tuple(MIX[index % len(MIX)] for index in range(count))
