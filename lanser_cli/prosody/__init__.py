"""What a representation knows of prosody: targets measured on the sound, probes trained on them.

from lanser_cli.prosody import measure
"""

from lanser_cli.prosody.targets import TARGETS, UNITS, measure

__all__ = ["TARGETS", "UNITS", "measure"]
