"""Dividing shards among relays."""

import pytest

from stream.core.share import share


@pytest.mark.parametrize("relays", range(1, 20))
def test_all_shards_are_shared_and_no_relay_has_two_more_than_another(relays: int) -> None:
    shares = [share(16, rank, relays) for rank in range(relays)]
    assert sum(shares) == 16
    assert max(shares) - min(shares) <= 1


@pytest.mark.parametrize("relays", range(1, 20))
def test_a_newcomer_only_takes_and_who_leaves_only_gives(relays: int) -> None:
    for rank in range(relays):
        assert share(16, rank, relays + 1) <= share(16, rank, relays)
        for other in range(rank, relays):
            assert share(16, other + 1, relays + 1) <= share(16, other, relays)
