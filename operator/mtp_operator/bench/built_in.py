"""The built-in prompts: four kinds of everyday work, each over many subjects.

A prompt is put together from one entry of each list of its category. No two of these lists have lengths with a common
divisor; so counting each list round and round gives every combination once before one comes again (the Chinese
remainder theorem). Prompts of one boot differ, and two that begin alike are far apart. They are ASCII and short: with
a byte-level tokenizer every character is a token.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mtp_operator.api.spec import PromptCategory


@dataclass(frozen=True)
class BuiltInPrompts(Sequence[str]):
    """All prompts of one category, made when they are asked for."""

    template: str
    parts: tuple[Sequence[str], ...]

    def __len__(self) -> int:
        return math.prod(map(len, self.parts))

    def __getitem__(self, index: int) -> str:  # type: ignore[override]  # no slices: a level reads one after the other
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.template.format(*(part[index % len(part)] for part in self.parts))

    @property
    def longest(self) -> str:
        """The longest of them: every combination occurs."""
        return self.template.format(*(max(part, key=len) for part in self.parts))


_PLACES: Final = (
    "bakery",
    "lighthouse museum",
    "bicycle courier",
    "veterinary clinic",
    "chess club",
    "ferry line",
    "seed bank",
    "night bus depot",
    "pottery studio",
    "mountain hut",
    "radio station",
    "dental laboratory",
    "tea importer",
    "skating rink",
    "planetarium",
    "fire brigade",
    "cheese dairy",
    "sailing school",
    "repair cafe",
    "bird observatory",
    "print shop",
    "vineyard",
    "blood donor service",
    "toy library",
    "tram museum",
    "fish farm",
    "film archive",
    "climbing gym",
    "weather office",
)

_LANGUAGES: Final = ("Python", "Go", "Rust", "TypeScript", "Java", "C", "Kotlin", "Ruby", "Swift", "C#", "Haskell")

_TASKS: Final = (
    "merge two lists of records that are sorted by date, without sorting again",
    "find the longest run of days without a single order",
    "parse a line of a log into time, level and message, and refuse what is malformed",
    "keep the hundred most recent entries and drop the oldest in constant time",
    "spread 40 volunteers over shifts so that nobody has two in a row",
    "turn a nested configuration into flat keys joined by dots, and back",
    "detect two bookings of one room that overlap",
    "count how often each word occurs in a text and return the ten most frequent",
    "retry a failing call with growing pauses, at most five times",
    "check the check digit of a 13-digit article number",
    "compute a moving average over the last seven readings",
    "group postal addresses by district and sort each group by street",
    "compare two versions of a price list and report what was added, removed or changed",
    "find the cheapest route through a small graph of stops",
    "validate an opening-hours table such as 'Mo-Fr 9-17, Sa 10-13'",
    "split a bill among people who had different things, to the cent",
    "read a CSV file with quoted fields and commas inside the quotes",
    "cache the results of a slow lookup for ten minutes",
    "convert measurements between metric and imperial units in a table",
    "generate every seating plan of six guests of whom two must not be neighbours",
    "compress a sequence of repeated sensor values into value and count",
    "schedule maintenance so that no two machines stand still at once",
    "build an index that finds all documents with every word of a query",
    "round durations up to quarter hours and sum them for each person",
    "guess the delimiter of a text table from its first lines",
    "rotate backups: keep seven daily, four weekly and twelve monthly ones",
    "limit a caller to ten requests a minute with a token bucket",
    "match spellings of names that differ by at most two letters",
    "draw a bar chart of weekly visitors with plain characters",
    "walk a folder tree and report the five largest files of each type",
    "simulate a queue with two counters and report the mean waiting time",
)

_CODE_DEMANDS: Final = (
    "Explain the idea in two sentences first.",
    "Add three test cases that would catch a wrong edge.",
    "State the complexity and why it cannot be much better.",
    "Handle empty input and say what happens then.",
    "Write documentation for every public name.",
    "Use nothing but the standard library.",
    "Show how it is called, with two examples and their output.",
    "Write it for a reader who is new to the language.",
    "Make wrong input an error with a helpful message.",
    "Prefer clarity over speed, and comment what is not obvious.",
    "Give a simple version first, then a faster one.",
    "Name the assumptions that you make about the data.",
    "Finish with a short list of what could be improved.",
)

_PEOPLE: Final = (
    "drive a night bus",
    "teach chess to children",
    "keep bees on a roof",
    "run a small bakery",
    "am learning the cello at fifty",
    "moved to a village last month",
    "repair old radios",
    "sing in a choir",
    "look after my grandmother",
    "work in a planetarium",
    "am training for a long hike",
    "grow tomatoes on a balcony",
    "coach a girls' football team",
    "translate cookbooks",
    "started as a nurse this spring",
    "restore wooden boats",
    "have twins who just turned three",
    "write a column for a local paper",
    "guide tourists through a cave",
    "study for a forestry exam",
    "rent out two rooms by the sea",
    "play the villain in an amateur theatre",
    "am about to retire from teaching",
    "share a flat with four others",
    "sell cheese on a market",
    "am afraid of flying",
    "lead a team for the first time",
    "want to read more this year",
    "live next to a railway line",
)

_TOPICS: Final = (
    "why the sky is blue at noon and red in the evening",
    "how a heat pump gets warmth out of cold air",
    "what to check before buying a used bicycle",
    "how to begin a difficult conversation",
    "why bread dough rises and sometimes collapses",
    "how vaccines train the immune system",
    "what makes a good question in an interview",
    "how tides work and why there are two a day",
    "how to plan a week of cheap and healthy dinners",
    "why some people wake up before the alarm",
    "how noise-cancelling headphones work",
    "what a mortgage rate that is fixed for ten years means",
    "how to learn forty new words a week and keep them",
    "why we yawn when others do",
    "how to set up a budget that survives December",
    "what happens in a lock when the key turns",
    "how glaciers move although they are solid",
    "what to do when two friends stop talking to each other",
    "how to prune an old apple tree",
    "why compound interest surprises people",
    "how a camera focuses by itself",
    "what a good apology consists of",
    "how to pack for four days with one small bag",
    "why a curveball curves",
    "how to read a weather map",
    "what jet lag does to the body and what helps",
    "how to choose a first telescope",
    "why glass is transparent and metal is not",
    "how to prepare a speech of three minutes",
    "what fermentation does to cabbage",
    "how earthquakes are located so quickly",
)

_MANNERS: Final = (
    "with one comparison from everyday life",
    "in plain words and without a formula",
    "step by step",
    "as if I had half an hour and a notebook",
    "with the most common mistake people make about it",
    "honestly, with what is not known for sure",
    "in the order in which I would need it",
    "with an example that I can try myself today",
    "the way you would tell a curious twelve-year-old",
    "with a bit of its history",
    "briefly first and then in depth",
)

_CHAT_WISHES: Final = (
    "End with a question back to me.",
    "Close with three things to remember.",
    "Tell me where I should be careful.",
    "Then give me a plan for the coming week.",
    "Add what an expert would do differently.",
    "Say which part matters most, and why.",
    "Mention one thing that most explanations leave out.",
)

_TOWNS: Final = (
    "Harrowick",
    "Lindale",
    "Port Amsel",
    "Grunau",
    "Saint Orme",
    "Velmora",
    "Kestrel Bay",
    "Oberfeld",
    "Marrow Hill",
    "Tannick",
    "Ilsebrook",
    "Castel Rovo",
    "Fennmouth",
    "Dunmorra",
    "Quellheim",
    "Ashby Locks",
    "Norvik Sound",
    "Pallisade",
    "Rosenthal",
    "Brackwater",
    "Monte Sereno",
    "Yarrow Ferry",
    "Eldermoor",
    "Zandhoek",
    "Upper Thistle",
    "Corvane",
    "Wexling",
    "Jarnvall",
    "Hollow Pine",
)

_EVENTS: Final = (
    "The library closed after a flood, and volunteers dried nine thousand books in a gym.",
    "The bridge to the station was shut for repairs two months longer than planned.",
    "A pump ran dry because a valve was closed for cleaning and the alarm was muted.",
    "The school kitchen began to cook with vegetables from its own garden.",
    "A storm took the roof of the ice rink in the middle of a tournament.",
    "The last cinema was bought by two hundred of its visitors.",
    "A new timetable cut the evening buses to the hospital by half.",
    "The council tried a four-day week in three offices for half a year.",
    "A fox family moved into the old signal box and stopped its demolition.",
    "The water works found lead in the pipes of a street built in 1911.",
    "Two bakeries that had been rivals for forty years merged.",
    "A power cut of nine hours showed that the clinic's generator had no fuel.",
    "The market was moved to the river bank, and half of the sellers stayed away.",
    "Pupils measured the traffic in front of their school for thirty days.",
    "A warehouse fire destroyed the costumes of the carnival society.",
    "The swimming pool opened in winter for the first time, heated by a data centre.",
    "An app for reporting potholes received eleven hundred reports in its first week.",
    "The choir lost its rehearsal room and sang in the underground car park.",
    "A ferry ran aground in fog with sixty passengers and a wedding cake on board.",
    "The museum discovered that its most famous painting hung upside down.",
    "A nursery stayed open through the night for parents who work shifts.",
    "The mayor cancelled the fireworks and spent the money on benches.",
    "A farmer let three fields go wild, and eleven rare birds came back.",
    "The court gave back a meadow that had been sold without a vote.",
    "A start-up promised to empty the bins by robot and went bankrupt in spring.",
    "The old mill produces electricity again, for about ninety households.",
    "A typing error sent four thousand residents a bill of a stranger.",
    "The volunteer fire brigade grew for the first time in twelve years.",
    "A heat wave bent the tram rails on a Sunday afternoon.",
    "The hospital moved its reception to a tent while asbestos was removed.",
    "A lost dog was found by a drone that was looking for gas leaks.",
)

_CONSEQUENCES: Final = (
    "Nobody was hurt, but the costs are put at 340,000.",
    "The first reactions were angry; after a month most people approved.",
    "A report names three causes and blames no single person.",
    "The neighbouring town has asked for the plans.",
    "Two families say that they were never told, and want an apology.",
    "The number of visitors rose by a fifth, mostly on weekdays.",
    "The insurance pays half; a bazaar shall bring in the rest.",
    "Experts had warned of exactly this in a letter two years before.",
    "The shop owners fear for their autumn trade.",
    "Three jobs were lost and five new ones are advertised.",
    "A poll found 48 per cent in favour, 41 against, the rest undecided.",
    "The work was done in eleven days, a week earlier than announced.",
    "Children under twelve may take part for free until the end of June.",
)

_SUMMARY_FORMS: Final = (
    "Summarise this in two sentences.",
    "Give it a headline and three bullet points.",
    "Retell it in one sentence for a child, then in three for a councillor.",
    "Write a summary of about fifty words, then list what the text leaves open.",
    "Sum it up in a short e-mail to somebody who was away.",
    "Condense it into a note for the archive: what, why, and what follows.",
    "Write what a radio presenter would say about it in twenty seconds.",
)

_RECORDS: Final = (
    "orders with customer, items and due date",
    "visitors with name, age group and ticket type",
    "suppliers with city, products and rating",
    "appointments with start, end and room",
    "sensors with id, unit and last three readings",
    "invoices with number, lines and total",
    "employees with role, skills and weekly hours",
    "complaints with channel, summary and severity",
    "deliveries with origin, stops and weight in kg",
    "courses with title, level and dates",
    "vehicles with plate, mileage and next service",
    "donations with donor, amount and purpose",
    "incidents with time, cause and measures",
    "parcels with barcode, dimensions and status",
    "recipes with ingredients, steps and minutes",
    "contracts with partner, start and notice period",
    "events with place, capacity and speakers",
    "animals with species, weight and diet",
    "machines with model, state and operator",
    "reviews with stars, text and language",
    "members with since, fee and interests",
    "measurements with depth, temperature and remark",
    "books with author, year and shelf",
    "tickets with priority, assignee and history",
    "routes with stations, length and duration",
    "budgets with year, items and reserve",
    "surveys with question, options and answers",
    "rooms with floor, seats and equipment",
    "patents with title, inventors and claims",
    "songs with composer, key and tempo",
    "photos with camera, exposure and keywords",
)

_COUNTS: Final = ("three", "four", "five", "six", "seven", "eight", "nine")

_JSON_DEMANDS: Final = (
    "Answer with a JSON array and nothing else.",
    "Use snake_case keys and ISO dates.",
    "Give every object an id that begins with the place's initials.",
    "Let one of them lack an optional field, and use null there.",
    "Put them under the key 'items' beside a 'count'.",
    "Add a JSON schema for one of them after the data.",
    "Sort them by their first field.",
    "Make the values realistic, and no two alike.",
    "Nest what belongs together in objects of its own.",
    "Indent by two blanks; no comments.",
    "Add a field 'tags' with two or three short words.",
)

BUILT_IN: Final = {
    PromptCategory.CODE: BuiltInPrompts("A {} needs this in {}: {}. {}", (_PLACES, _LANGUAGES, _TASKS, _CODE_DEMANDS)),
    PromptCategory.CHAT: BuiltInPrompts("I {}. Explain to me {}, {}. {}", (_PEOPLE, _TOPICS, _MANNERS, _CHAT_WISHES)),
    PromptCategory.SUMMARIZE: BuiltInPrompts(
        "News from {}: {} {} {}", (_TOWNS, _EVENTS, _CONSEQUENCES, _SUMMARY_FORMS)
    ),
    PromptCategory.JSON: BuiltInPrompts("For a {}: invent {} {}. {}", (_PLACES, _COUNTS, _RECORDS, _JSON_DEMANDS)),
}
"""Category -> its prompts."""
