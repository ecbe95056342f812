"""Text to weak label: the taxonomy's label that a transcript entails most.

from lanser_cli.entailment import label, make_labeller
"""

from lanser_cli.entailment.labelling import label, make_labeller
from lanser_cli.entailment.scorer import EMBEDDED, PairScorer
from lanser_cli.entailment.taxonomy import Taxonomy, load_taxonomy, taxonomy_names
from lanser_cli.entailment.templates import DEFAULT_TEMPLATE, Template

__all__ = [
    "DEFAULT_TEMPLATE",
    "EMBEDDED",
    "PairScorer",
    "Taxonomy",
    "Template",
    "label",
    "load_taxonomy",
    "make_labeller",
    "taxonomy_names",
]
