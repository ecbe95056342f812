"""Hypothesis templates: the sentence whose entailment is asked for, with a slot for the emotion."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lanser_cli.entailment.taxonomy import Taxonomy
from lanser_cli.errors import UsageError

DEFAULT_TEMPLATE = "This person feels {}."
"""The best of four on 500 GoEmotions development comments, by a little, with the embedded model."""

_SLOT = re.compile(r"\{(adjective|noun)?\}")


@dataclass(frozen=True, slots=True)
class Template:
    """A sentence with exactly one slot: `{}` or `{noun}` for the noun, `{adjective}`."""

    text: str

    def __post_init__(self) -> None:
        if len(_SLOT.findall(self.text)) != 1 or len(re.findall(r"[{}]", self.text)) != 2:
            raise UsageError(
                f"template '{self.text}' must have exactly one slot: {{}} for the emotion's noun "
                "or {adjective} for its adjective"
            )

    def hypotheses(self, taxonomy: Taxonomy) -> list[str]:
        """One sentence a label, in the taxonomy's order."""
        wants_adjective = "{adjective}" in self.text
        words = taxonomy.adjectives if wants_adjective else taxonomy.nouns
        return [_SLOT.sub(lambda _, word=word: word, self.text) for word in words]  # type: ignore[misc]
