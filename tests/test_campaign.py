"A short run of tests/campaign.py; the long one is started by hand."

import campaign
import pytest


@pytest.mark.parametrize("kind", campaign.KINDS)
def test_short_campaign(kind):
    outcomes = campaign.run(kind, 300)
    assert sum(outcomes.values()) == 300 and len(outcomes) > 1, (
        outcomes
    )  # some are read, some refused


def test_an_unexpected_error_is_told_with_its_input(monkeypatch):
    def breaks(folder, draw):
        raise KeyError(int(draw.integers(100)))

    monkeypatch.setitem(campaign.KINDS, "idx", breaks)
    with pytest.raises(AssertionError, match=r"idx, seed 3, input 0: KeyError: \d+"):
        campaign.run("idx", 2, seed=3)
