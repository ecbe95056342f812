"""A labelling task: which labels there are, and the words that ask for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lanser_cli.entailment.crosswalk import Crosswalk, load_crosswalk
from lanser_cli.entailment.taxonomy import ENGLISH, Taxonomy, load_taxonomy
from lanser_cli.entailment.templates import DEFAULT_TEMPLATE, Template, load_templates
from lanser_cli.errors import UsageError


@dataclass(frozen=True)
class Task:
    """The labels that are scored, the hypotheses' templates, and the labels that are written.

    Attributes:
        taxonomy: whose labels are scored.
        templates: averaged, in log-odds.
        crosswalk: to the labels of another taxonomy, which are written instead.
        words: the options that name the labels on a command line.
    """

    taxonomy: Taxonomy
    templates: tuple[Template, ...] = (Template(DEFAULT_TEMPLATE),)
    crosswalk: Crosswalk | None = None
    words: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that are written."""
        return (self.crosswalk.target if self.crosswalk else self.taxonomy).labels

    def hypothesis_sets(self, model: str) -> list[list[str]]:
        """The hypotheses of each template, for a model that is asked for all of them at once.

        Raises:
            UsageError: one is of two templates, so that it would have two scores.
        """
        sets = [template.hypotheses(self.taxonomy) for template in self.templates]
        said = Counter(text for each in sets for text in dict.fromkeys(each))
        if twice := [text for text, count in said.items() if count > 1]:
            raise UsageError(
                f"--model {model} is asked for all hypotheses of a template at once, and two "
                f"templates say '{twice[0]}': leave one of them out"
            )
        return sets


def load_task(
    taxonomy: str,
    labels: Sequence[str] | None = None,
    crosswalk: str | None = None,
    templates: Sequence[str] = (),
    *,
    lang: str = ENGLISH,
    sweep: bool = False,
) -> Task:
    """The task that options ask for.

    Args:
        taxonomy: a name or file.
        labels: instead of a taxonomy.
        crosswalk: name of the target taxonomy, or file.
        templates, sweep: as `load_templates`.
        lang: the language of the hypotheses.

    Raises:
        UsageError: one of them is not there or does not fit.
    """
    words = ["--labels", ",".join(labels)] if labels is not None else ["--taxonomy", taxonomy]
    words += ["--crosswalk", crosswalk] if crosswalk else []
    words += ["--lang", lang] if lang != ENGLISH else []
    emotions = Taxonomy.of_labels(labels) if labels is not None else load_taxonomy(taxonomy)
    emotions = emotions.in_language(lang)
    return Task(
        emotions,
        load_templates(templates, lang, sweep=sweep),
        load_crosswalk(crosswalk, emotions) if crosswalk else None,
        tuple(words),
    )
