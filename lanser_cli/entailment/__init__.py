"""Text to weak label: the taxonomy's label that a transcript entails most.

from lanser_cli.entailment import PairScorer, label, load_taxonomy
"""

from lanser_cli.entailment.cache import CachedScorer
from lanser_cli.entailment.cascade import Cascade
from lanser_cli.entailment.context import with_context
from lanser_cli.entailment.crosswalk import Crosswalk, load_crosswalk
from lanser_cli.entailment.label_scorer import LabelScorer, Scorer
from lanser_cli.entailment.labeller import label
from lanser_cli.entailment.scorer import EMBEDDED, PairScorer
from lanser_cli.entailment.task import Task, load_task
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
    "Cascade",
    "Crosswalk",
    "LabelScorer",
    "PairScorer",
    "Scorer",
    "Task",
    "Taxonomy",
    "Template",
    "label",
    "load_crosswalk",
    "load_task",
    "load_taxonomy",
    "load_templates",
    "taxonomy_names",
    "with_context",
]
