"""Text to weak label: the taxonomy's label that a transcript entails most.

from lanser_cli.entailment import PairScorer, label, load_taxonomy
"""

from lanser_cli.entailment.cache import CachedScorer
from lanser_cli.entailment.context import with_context
from lanser_cli.entailment.crosswalk import Crosswalk, load_crosswalk
from lanser_cli.entailment.judge import Judge, Panel, Scorer
from lanser_cli.entailment.labeller import Settings, label, make_labeller
from lanser_cli.entailment.scorer import EMBEDDED, PairScorer
from lanser_cli.entailment.taxonomy import Taxonomy, load_taxonomy, taxonomy_names
from lanser_cli.entailment.templates import (
    DEFAULT_TEMPLATE,
    SWEEP_TEMPLATES,
    Template,
    load_templates,
)

__all__ = [
    "DEFAULT_TEMPLATE",
    "EMBEDDED",
    "SWEEP_TEMPLATES",
    "CachedScorer",
    "Crosswalk",
    "Judge",
    "PairScorer",
    "Panel",
    "Scorer",
    "Settings",
    "Taxonomy",
    "Template",
    "label",
    "load_crosswalk",
    "load_taxonomy",
    "load_templates",
    "make_labeller",
    "taxonomy_names",
    "with_context",
]
