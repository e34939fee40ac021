"""Paths of the saved pictures of samples."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spikerec.training.evaluation import folder_name


def test_a_picture_folder_is_legible() -> None:
    assert folder_name("200_part1_key_id151/150") == "200_part1_key_id151+150"
    assert folder_name("day/one/20") != folder_name("day_one/20")


keys = st.one_of(
    st.text(st.sampled_from("ab_/+%.~\\ é"), max_size=12),
    st.text(st.characters(codec="utf-8"), max_size=400),
)


@given(one=keys, other=keys)
def test_different_samples_have_different_folders(one: str, other: str) -> None:
    assert (folder_name(one) == folder_name(other)) == (one == other)
    assert not set(folder_name(one)) & set("/\\\0: ")
    assert folder_name(one) not in (".", "..")
    assert len(folder_name(one).encode()) < 255
