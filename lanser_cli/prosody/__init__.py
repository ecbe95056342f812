"""What a representation knows of prosody: targets measured on the sound, probes trained on them.

from lanser_cli.prosody import compare, measure, shuffled
"""

from lanser_cli.prosody.probes import ProbeScore, compare, probe, protocol, shuffled
from lanser_cli.prosody.targets import TARGETS, UNITS, measure

__all__ = [
    "TARGETS",
    "UNITS",
    "ProbeScore",
    "compare",
    "measure",
    "probe",
    "protocol",
    "shuffled",
]
