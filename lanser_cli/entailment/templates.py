"""Hypothesis templates: the sentence whose entailment is asked for, with a slot for the emotion."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lanser_cli.entailment.taxonomy import ENGLISH, Taxonomy
from lanser_cli.errors import UsageError

DEFAULT_TEMPLATE = "This person feels {}."
"""The best of four on 500 GoEmotions development comments, by a little, with the embedded model."""

SWEEP_TEMPLATES = (
    DEFAULT_TEMPLATE,
    "This person is {adjective}.",
    "The speaker feels {adjective}.",
    "The speaker expresses {}.",
    "This text expresses {}.",
    "The emotion of this text is {}.",
    "I feel {}.",
    "It conveys {}.",
)
"""What `--sweep` tries where no template is named."""

TEMPLATES = {
    ENGLISH: SWEEP_TEMPLATES,
    "de": ("Diese Person empfindet {}.", "Diese Person ist {adjective}."),
    "es": ("Esta persona siente {}.", "Esta persona está {adjective}."),
    "fr": ("Cette personne ressent {}.", "Cette personne est {adjective}."),
    "pl": ("Ta osoba odczuwa {}.", "Ta osoba jest {adjective}."),
}
"""By language what a sweep tries; the first is the default."""

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
        return [_SLOT.sub(lambda _, word=word: word, self.text) for word in self.words(taxonomy)]  # type: ignore[misc]

    def words(self, taxonomy: Taxonomy) -> tuple[str, ...]:
        """What fills the slot, label by label."""
        return taxonomy.adjectives if "{adjective}" in self.text else taxonomy.nouns

    @property
    def frame(self) -> str:
        """The sentence without its slot."""
        return _SLOT.sub("", self.text).strip()


def load_templates(
    values: Sequence[str], lang: str = ENGLISH, *, sweep: bool = False
) -> tuple[Template, ...]:
    """Templates as given on the command line; of none, the language's default.

    A value that ends in .txt is a file with a template a line; blank lines and those that begin
    with # are skipped.

    Args:
        sweep: of none, all that a sweep tries.

    Raises:
        UsageError: a file cannot be read or holds none; a template has not one slot, or is there
            twice; none is given, and none ships for the language.
    """
    if not values and lang not in TEMPLATES:
        raise UsageError(
            f"--lang {lang}: a template ships for {', '.join(TEMPLATES)}: name one with --template"
        )
    templates: list[Template] = []
    for value in values:
        if not value.endswith(".txt"):
            templates.append(Template(value))
            continue
        try:
            lines = Path(value).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{value}: templates cannot be read from it: {error}") from None
        found = []
        for number, line in enumerate(lines, 1):
            if line.strip() and not line.startswith("#"):
                try:
                    found.append(Template(line.strip()))
                except UsageError as error:
                    raise UsageError(f"{value}:{number}: {error}") from None
        if not found:
            raise UsageError(f"{value}: there is no template in it: write one a line")
        templates += found
    for template in templates:
        if templates.count(template) > 1:
            raise UsageError(f"template '{template.text}' is given twice")
    ready = TEMPLATES.get(lang, ())
    return tuple(templates) or tuple(map(Template, ready if sweep else ready[:1]))
