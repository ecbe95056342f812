"""What is said of a name that is not known."""

from __future__ import annotations

from lanser_cli.texts import near


def test_the_nearest_name_is_proposed_and_what_is_there_is_listed() -> None:
    assert near("tran", ["train", "dev"]) == "did you mean 'train'? there are: dev, train"
    assert near("xyz", ["b", "a"]) == "there are: a, b"
    assert near("s9", [f"s{n:02d}" for n in range(30)]).endswith("s19 and 10 more")
    assert near("x", []) == "there are: none"
