"""The LLM scorer: a language model on a server says how likely statements are, given a text.

In pair mode it is asked for yes or no about one hypothesis, and a score is
`log p(yes) - log p(no)`. In choice mode it is asked for the letter of one of all hypotheses, and a
score is that letter's log-probability. Both are read off the first token of the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.pool import ThreadPool
from string import ascii_uppercase
from typing import TypeAlias
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from lanser_cli.digests import string64
from lanser_cli.entailment.label_scorer import SERVED
from lanser_cli.entailment.server import SLOTS, Server
from lanser_cli.errors import LanserError, RecordError

_PAIR = """Someone said: "{premise}"

Statement: "{hypothesis}"

Given what was said, is the statement likely to be true? Answer with one word, yes or no."""

_CHOICE = """Someone said: "{premise}"

{options}

Given what was said, which statement is most likely to be true? Answer with its letter alone."""

_Question: TypeAlias = tuple[str, tuple[str, ...]]
"""A premise, and the hypothesis or hypotheses that are put to the model together."""

_YES_OR_NO = ("Yes", "No", "yes", "no")


class LlmScorer:
    """A model of a server, behind the protocol of scorers.

    A premise that the server has no usable answer for has NaN for scores, and `fault` says why.

    Args:
        sets: for choice mode, the hypotheses that are put to the model together; none: pair mode.
    """

    precision = SERVED

    def __init__(self, server: Server, sets: Sequence[Sequence[str]] = ()) -> None:
        self._server = server
        self._sets = [tuple(each) for each in sets]
        self._faults: dict[str, str] = {}
        self._tried = False
        self._threads: ThreadPool | None = None

    @property
    def name(self) -> str:
        return self._server.name

    @property
    def fingerprint(self) -> str:
        """The server's identity, and a digest of what it is asked."""
        mode = "choice" if self._sets else "pair"
        asked = string64(repr((_CHOICE if self._sets else _PAIR, self._sets)))
        return f"{self._server.identity}, {mode} {asked:016x}"

    def score(
        self,
        premises: Sequence[str],
        hypotheses: Sequence[str],
        wanted: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        """As of every scorer; in choice mode log-probabilities, among all hypotheses of a set.

        Raises:
            LanserError: the server does not answer any more, or gives no log-probabilities at all.
        """
        self._faults.clear()
        scores = np.full((len(premises), len(hypotheses)), np.nan, np.float32)
        if wanted is None:
            wanted = np.ones_like(scores, np.bool_)
        column_of = {hypothesis: column for column, hypothesis in enumerate(hypotheses)}
        questions = [
            (row, options)
            for row in range(len(premises))
            for options in self._sets or [(hypothesis,) for hypothesis in hypotheses]
            if any(wanted[row, column_of[each]] for each in options if each in column_of)
        ]
        if not questions:
            return scores
        self._try()
        asked = [(premises[row], options) for row, options in questions]
        for (row, _), found in zip(questions, self._answers(asked), strict=True):
            if isinstance(found, str):
                self._faults.setdefault(premises[row], found)
                continue
            for hypothesis, score in found.items():
                column = column_of.get(hypothesis)
                if column is not None and wanted[row, column]:
                    scores[row, column] = score
        return scores

    def fault(self, premise: str) -> str | None:
        return self._faults.get(premise)

    def truncates(self, premises: Sequence[str], hypotheses: Sequence[str]) -> list[bool]:
        """Never: a server refuses a text that is too long."""
        return [False] * len(premises)

    def knows(self, text: str) -> bool:
        return True

    def tokens(self, text: str) -> list[int]:
        return list(text.encode())

    def _try(self) -> None:
        """Ask one plain question first, so that a set-up that cannot work rejects no record.

        Raises:
            LanserError: it has no answer either.
        """
        if not self._tried:
            statements = ("This person feels joy.", "This person feels anger.")
            options = statements if self._sets else statements[:1]
            found = self._answer(("I am so happy that you came!", options))
            if isinstance(found, str):
                raise LanserError(f"--model {self.name}: a plain question fails: {found}")
            self._tried = True

    def _answers(self, questions: Sequence[_Question]) -> Iterator[dict[str, float] | str]:
        """The answers to questions, in their order, of which `SLOTS` are asked at once."""
        if self._threads is None:
            self._threads = ThreadPool(SLOTS)
            finalize(self, self._threads.terminate)
        try:
            yield from self._threads.imap(self._answer, questions)
        except BaseException:
            self._threads.terminate()  # else the questions that are left would still be asked
            self._threads = None
            self._server.give_up()
            raise

    def _answer(self, question: _Question) -> dict[str, float] | str:
        """Hypotheses and their scores, or why there are none."""
        premise, options = question
        try:
            if self._sets:
                return self._choice(premise, options)
            return {options[0]: self._yes_less_no(premise, options[0])}
        except RecordError as error:
            return str(error)

    def _yes_less_no(self, premise: str, hypothesis: str) -> float:
        """`log p(yes) - log p(no)`, however these are written."""
        prompt = _PAIR.format(premise=premise, hypothesis=hypothesis)
        found = self._log_probabilities(prompt, _YES_OR_NO, str.casefold)
        if len(found) < 2:
            raise RecordError(
                f"among the server's {self._server.most_tokens} likeliest tokens for "
                f"'{hypothesis}' are not both yes and no"
            )
        return found["yes"] - found["no"]

    def _choice(self, premise: str, options: Sequence[str]) -> dict[str, float]:
        """The log-probability of each option, from as many rounds as it takes.

        A server says the likeliest tokens alone. What it has left out is asked for again, next to
        the best so far, whose log-probability ties the rounds together.
        """
        scores: dict[str, float] = {}
        best: list[str] = []
        left = list(options)
        while left:
            asked = [*best, *left][: min(self._server.most_tokens, len(ascii_uppercase))]
            letters = dict(zip(ascii_uppercase, asked, strict=False))
            listed = "\n".join(f"{letter}. {option}" for letter, option in letters.items())
            prompt = _CHOICE.format(premise=premise, options=listed)
            by_letter = self._log_probabilities(prompt, tuple(letters), str)
            found = {letters[letter]: score for letter, score in by_letter.items()}
            if not found.keys() & set(left) or not found.keys() >= set(best):
                raise RecordError(
                    f"among the server's {self._server.most_tokens} likeliest tokens is none for "
                    f"'{left[0]}': use --llm-mode pair"
                )
            shift = scores[best[0]] - found[best[0]] if best else 0.0
            scores |= {option: score + shift for option, score in found.items() if option in left}
            left = [option for option in left if option not in scores]
            best = [max(scores, key=lambda option: scores[option])]
        return scores

    def _log_probabilities(
        self, prompt: str, answers: Sequence[str], normal: Callable[[str], str]
    ) -> Mapping[str, float]:
        """The log-probability of each answer that the server says one of, in its normal form.

        Raises:
            RecordError: the model answers with something else.
        """
        token, likeliest = self._server.first_token(prompt, answers)
        allowed = {normal(answer) for answer in answers}
        if normal(token.strip()) not in allowed:
            among = f"{answers[0]} to {answers[-1]}" if normal is str else "yes or no"
            said = self._server.shown(token, 40)
            raise RecordError(f"the model answers '{said}' and not {among}")
        found: dict[str, float] = {}
        for text, odds in likeliest:
            if (answer := normal(text.strip())) in allowed:
                found[answer] = float(np.logaddexp(found.get(answer, -np.inf), odds))
        return found
