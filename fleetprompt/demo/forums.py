"""The sample forums: what people wrote in the two communities, and what is the matter with some of it."""

from enum import StrEnum
from typing import NamedTuple


class Mark(StrEnum):
    """What a moderator would say of a post."""

    FINE = "fine"
    SPAM = "spam"
    MISJUDGED = "misjudged"
    """Fine, although it looks like spam."""
    PRIVATE = "private"
    """It gives away where somebody lives."""


class Sample(NamedTuple):
    """One post: who wrote what."""

    author: str
    text: str
    mark: Mark = Mark.FINE


class Community(NamedTuple):
    """A tenant with one thread."""

    slug: str
    name: str
    category: str
    title: str
    posts: tuple[Sample, ...]

    @property
    def domain(self) -> str:
        """The host name that serves it on the machine it runs on."""
        return f"{self.slug}.localhost"


HARBOR = Community(
    "harbor",
    "Harbor Model Boats",
    "Workbench",
    "Which varnish for a cedar deck?",
    (
        Sample("Ines", "The deck of my 1:12 pilot cutter is planked at last. Which varnish would you use?"),
        Sample("Tomasz", "Two thin coats of spar varnish, sanded with 400 in between. It stays elastic."),
        Sample("bestdeals_4u", "WATCHES 90% OFF only today!!! dealz-4-u.example/w", Mark.SPAM),
        Sample("Bo", "Shellac looks warmer, but one wave over the bow and it turns white."),
        Sample("Ines", "White is not what I want. How long between coats, in a cold garage?"),
        Sample("lucky777", "I made 4000 in a week from home, ask me how: lucky.example", Mark.SPAM),
        Sample("Tomasz", "Below 12 degrees give it two days. Thumb test: no print, no smell."),
        Sample("crypto_anna", "Double your coins in 24 hours, guaranteed, cryptoanna.example", Mark.SPAM),
        Sample("Maren", "Thin the first coat by half, so that it goes into the grain."),
        Sample("lucky777", "Nobody answered, so AGAIN: 4000 in a week, lucky.example", Mark.SPAM),
        Sample(
            "Ferry_Pete",
            "FREE!!! I have six tins of spar varnish left over, first come first served, "
            "photos at ferrypete.example",
            Mark.MISJUDGED,
        ),
        Sample("pillz", "No prescription needed, shipped in plain paper: pillz.example", Mark.SPAM),
        Sample("Bo", "Does anybody know whether cedar bleeds through a water-based one?"),
        Sample("Maren", "It does. Mine looks like weak tea around every knot."),
        Sample("bestdeals_4u", "SUNGLASSES!! 3 for 1!! dealz-4-u.example/s", Mark.SPAM),
        Sample("Ines", "Then spar varnish it is. Gloss or satin for a working boat?"),
        Sample("Tomasz", "Satin. Nobody polished a cutter's deck in 1890."),
        Sample("hot_singles", "Somebody in your town waits for you, hotsingles.example", Mark.SPAM),
        Sample("Old_Salt", "They did polish the brass, though. Ask my back."),
        Sample("crypto_anna", "LAST CHANCE to join the coin rocket, cryptoanna.example", Mark.SPAM),
        Sample("Bo", "How do you keep the brush from shedding? I pick bristles out for hours."),
        Sample("Maren", "Foam brushes, thrown away after each coat. Not elegant, but clean."),
        Sample("seo_wizard", "I bring your web site to page one, 49 only, seowizard.example", Mark.SPAM),
        Sample("Old_Salt", "Badger hair, washed the same evening. I have had mine since 1987."),
        Sample("pillz", "Sleep well again tonight, pillz.example/sleep", Mark.SPAM),
        Sample("Ines", "First coat is on. It smells wonderful and the cat is offended."),
        Sample("bestdeals_4u", "Handbags, nobody can tell them from real: dealz-4-u.example/h", Mark.SPAM),
        Sample("Tomasz", "Keep the cat out until the third coat. I speak from experience."),
        Sample("loan_ranger", "Bad credit? Money in ten minutes, no questions: loanr.example", Mark.SPAM),
        Sample("Maren", "Paw prints count as non-slip coating."),
        Sample("Ines", "I will post pictures on Sunday, prints or no prints. Thank you all!"),
    ),
)

ORCHARD = Community(
    "orchard",
    "Orchard Growers",
    "Trees",
    "Is autumn grafting a mistake?",
    (
        Sample("Wilma", "I grafted two Boskoops in October and both took. Why does every book say spring?"),
        Sample("Kees", "Because two trees are luck. The union has to knit before the frost."),
        Sample("Wilma", "Eleven trees in four years by now. Is that still luck?"),
        Sample("Dr_Pomona", "Callus forms above 7 degrees. In your valley October is simply warm enough."),
        Sample("Kees", "Lovely. Now three beginners copy that on a hill, and lose a year."),
        Sample("Wilma", "Nobody said hill. Read before you lecture."),
        Sample("Kees", "I have read your posts for years. They do not get better by being repeated."),
        Sample("Joost", "Could we go back to the trees?"),
        Sample("Wilma", "Gladly, as soon as the professor here has pruned his manners."),
        Sample("Kees", "Says somebody who cannot tell a scion from a stick."),
        Sample(
            "anon_1182",
            "Let us settle it in person: Kees lives in the yellow house behind the mill, number 14.",
            Mark.PRIVATE,
        ),
        Sample("Joost", "That goes too far. Moderators, please."),
        Sample("Kees", "Who gave you that address?! I want this whole thread gone!"),
        Sample("Wilma", "That was not me, and it is disgusting. But you are still wrong about October."),
    ),
)
