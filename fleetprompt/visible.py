"""Text in which hidden characters show: those that reverse it, hide in it, or steer a terminal."""

import re

# Controls besides tab and line ends; zero-width characters without the joiners, which scripts and emoji
# need; line separators; embeddings, overrides and isolates (UAX #9); unpaired surrogates; tags.
_HIDDEN = (
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u180e\u200b\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff"
    "\U000e0000-\U000e007f"
)
# A line end of the web is two characters; the first alone would have a terminal write over the line.
HIDDEN_CHARACTER = re.compile(f"[{_HIDDEN}]|\r(?!\n)")


def visible(text: str) -> str:
    """Return `text` with each hidden character as its code point, such as `⟨U+202E⟩`."""
    return HIDDEN_CHARACTER.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text)
