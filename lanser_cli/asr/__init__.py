"""Speech to text: engines behind one small protocol, and reasons to distrust what they wrote."""

from lanser_cli.asr.engine import Engine, Transcript
from lanser_cli.asr.engines import make_engine
from lanser_cli.asr.transcriber import make_transcriber, transcribe

__all__ = ["Engine", "Transcript", "make_engine", "make_transcriber", "transcribe"]
