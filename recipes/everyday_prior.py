#!/usr/bin/env python3
"""Write the prior that ships with the embedded model: lanser_cli/entailment/everyday_prior.json.

It holds the mean log-odds over the sentences of everyday.txt, in float32, for each hypothesis that
the default template makes of the taxonomies that ship. Run it after the model, the sentences or a
taxonomy's nouns have changed; it takes half a minute of one processor.
"""

from __future__ import annotations

import argparse

from lanser_cli.entailment import DEFAULT_TEMPLATE, PairScorer, Template, load_taxonomy
from lanser_cli.entailment import taxonomy_names as names
from lanser_cli.entailment.calibration import EVERYDAY_PRIOR, everyday
from lanser_cli.output import write_json


def main() -> None:
    """Score every pair once."""
    argparse.ArgumentParser(description=__doc__, allow_abbrev=False).parse_args()
    template = Template(DEFAULT_TEMPLATE)
    hypotheses = sorted(
        {text for name in names() for text in template.hypotheses(load_taxonomy(name))}
    )
    scorer = PairScorer(precision="float32")
    means = scorer.score(everyday(), hypotheses).mean(axis=0, dtype=float)
    log_odds = {text: round(float(mean), 4) for text, mean in zip(hypotheses, means, strict=True)}
    write_json(EVERYDAY_PRIOR, {"fingerprint": scorer.fingerprint, "log_odds": log_odds})


if __name__ == "__main__":
    main()
