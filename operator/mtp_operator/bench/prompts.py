"""The built-in prompt mix. Prompts are short: with a byte-level tokenizer a character is a token."""

from collections.abc import Sequence
from typing import Final

SHORTEST_PASS: Final = 2
"""Requests of a pass at concurrency 1: four passes at 40 tok/s and 512 output tokens take 100 s."""

MIX: Final = (
    # Code, chat, summary and JSON in turn, so that every even number of them from the first on is a mix.
    "Write a Python function that merges two sorted lists into one sorted list without using sort(). Add type hints, "
    "a docstring and three assertions that show how it behaves at the edges. Then explain its running time.",
    "My neighbour offered me a four-year-old bicycle that stood outside for two winters. I would ride it to work, "
    "eight kilometres each way. What should I look at before I say yes, and in which order would you check it?",
    "Summarise for a busy reader, in five sentences: The town library opened in 1911 and closed in 1974 after a flood. "
    "Volunteers dried 9,000 books in a gymnasium. For six years a bus served the villages. Since the new house opened "
    "in 1981, children borrow free of charge.",
    "Turn this note into one JSON object with the keys customer, items (name, count, price) and due, and nothing else: "
    "Mrs Okafor wants twelve oak boards at 14.50, two tins of linseed oil at 9 and a brush for 4.20, ready by 3 May.",
    "Here is a SQL table orders(id, customer, day, total). Write one query for the three customers with the largest "
    "sum in each month of last year, and one that finds months without any order. Comment each clause.",
    "Explain to a curious twelve-year-old why the sky is blue at noon but red in the evening. Use one comparison from "
    "a swimming pool, avoid formulas, and finish with an experiment for the kitchen table.",
    "Summarise as three bullet points and a title: The pump ran dry on Monday night because a valve was closed for "
    "cleaning and the alarm was muted. Nobody was hurt. The night shift found it at 4 am; production lost seven hours. "
    "The valve now has a lock.",
    "Write a JSON array of six invented weather stations. Each has id, city, latitude, longitude, height_m and a list "
    "of the last three readings with time and celsius. Output only the JSON, indented by two blanks.",
)


def pass_prompts(concurrency: int) -> Sequence[str]:
    """The prompts of one pass: as many as are in flight, at least `SHORTEST_PASS`; the mix repeats if it must."""
    count = max(SHORTEST_PASS, concurrency)
    return tuple(MIX[index % len(MIX)] for index in range(count))
