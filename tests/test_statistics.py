"Interval, p and verdict agree, on thousands of random studies; coverage and power are as promised."
import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from fmnist.statistics import (LEVEL, compare, compare_rates, detectable, fisher, holm,
                               holm_factors, is_exact, paired, paired_differences, power_text,
                               prediction_interval, seeds_needed, sign_flip, sign_flip_interval,
                               seeds_and_images, student, summarise, typical_spread)

SHAPES = {
    "normal": lambda rng, n: rng.normal(rng.uniform(-1, 1), 0.5, n),
    "rounded": lambda rng, n: np.round(rng.normal(0.1, 0.3, n), 1),  # many ties, many zeros
    "tiny": lambda rng, n: 1e-10 * rng.normal(0.5, 1, n),
    "lopsided": lambda rng, n: rng.exponential(size=n) - rng.uniform(0, 1),
    "one far away": lambda rng, n: np.append(rng.normal(0.3, 0.2, n - 1), rng.normal(0, 30)),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [2, 3, 5, 6, 8, 10, 14, 17])
def test_interval_leaves_out_0_exactly_if_p_says_so(shape, n):
    rng = np.random.default_rng(n)
    for comparisons, factor in [(1, 1), (6, 6), (6, 2)] * (3 if n > 12 else 20):
        low, high, p = paired(SHAPES[shape](rng, n), comparisons, factor)
        assert (low > 0 or high < 0) == (factor * p <= LEVEL), (low, high, p)


def test_thousands_of_studies_agree_at_once():
    rng = np.random.default_rng(1)
    d = rng.normal(rng.uniform(-0.5, 0.5, (20_000, 1)), 0.4, (20_000, 8))
    for factor in (1, 2, 6):
        low, high, p = paired(d, 6, factor)
        assert ((low > 0) | (high < 0)).tolist() == (factor * p <= LEVEL).tolist()


def test_verdict_interval_and_corrected_p_of_whole_studies():
    rng = np.random.default_rng(2)
    for study in range(400):
        m, n = rng.integers(1, 8), rng.integers(3, 11)
        arms = [np.round(rng.normal(88 + rng.choice([0, 0.3]), 0.25, n), 2) for _ in range(m + 1)]
        values = {arm: dict(enumerate(accuracies)) for arm, accuracies in enumerate(arms)}
        for c in compare(values, [(arm, 0) for arm in range(1, m + 1)]):
            assert (c.low > 0 or c.high < 0) == (c.corrected <= LEVEL), c
            assert c.verdict.startswith(("better", "worse")) == (c.corrected <= LEVEL)
            assert c.low <= c.difference <= c.high


def difference(x, y, axis):
    return np.mean(x - y, axis=axis)


def test_the_definition_word_by_word():
    for d in np.random.default_rng(0).normal(0.2, 1, (20, 7)):
        flipped = [np.mean(signs * d) for signs in product([1, -1], repeat=len(d))]
        assert sign_flip(d) == np.mean(np.abs(flipped) >= abs(d.mean()) - 1e-12)
        test = stats.permutation_test((d, np.zeros_like(d)), difference,
                                      permutation_type="samples", vectorized=True)
        assert math.isclose(sign_flip(d), test.pvalue)


def test_many_seeds_are_counted_by_random_divisions():
    d = np.random.default_rng(0).normal(0.6, 1, 20)
    assert abs(sign_flip(d) - stats.ttest_1samp(d, 0).pvalue) < 0.005
    interval = stats.ttest_1samp(d, 0).confidence_interval()
    assert np.allclose(sign_flip_interval(d), interval, atol=0.05)
    assert sign_flip(np.linspace(0.1, 1, 20)) < 0.001


def test_size_of_the_differences_does_not_matter():
    d = np.random.default_rng(0).normal(0.5, 1, 10)
    for scale in (1e-12, 1e-10, 1, 1e10):
        assert sign_flip(scale * d) == sign_flip(d)
        assert np.allclose(np.divide(paired(scale * d)[:2], scale), paired(d)[:2])


def test_rounding_is_no_difference():
    accuracies = np.array([0.8870, 0.8827, 0.8802])
    difference = 100 * (accuracies + 0.0042) - 100 * accuracies
    assert paired(difference) == pytest.approx((-math.inf, math.inf, 0.25))
    values = {"a": {0: 0.1 + 0.2, 1: 88.0}, "b": {0: 0.3, 1: 88.0}}
    assert paired_differences(values, "a", "b").tolist() == [0, 0]
    assert paired([0.0] * 8)[:3] == (0, 0, 1)


def test_a_study_of_ten_seeds_takes_milliseconds():
    import time
    values = {arm: dict(enumerate(np.random.default_rng(arm).normal(88, 0.3, 10)))
              for arm in range(7)}
    pairs = [(arm, 0) for arm in range(1, 7)]
    compare(values, pairs)  # imports, and the divisions
    started = time.process_time()
    compare(values, pairs)
    assert time.process_time() - started < 0.1


@pytest.mark.parametrize("n", [6, 8, 10, 12])
def test_coverage(n):
    draws = np.random.default_rng(n).normal(size=(2000, n))
    low, high = sign_flip_interval(draws)
    exact = 1 - math.floor(LEVEL * 2 ** (n - 1)) / 2 ** (n - 1)
    assert abs(np.mean((low <= 0) & (high >= 0)) - exact) < 0.015


@pytest.mark.parametrize("n, comparisons",
                         [(3, 1), (5, 6), (6, 1), (10, 1), (10, 6), (14, 1), (20, 6)])
def test_power_is_what_is_promised(n, comparisons):
    d = np.random.default_rng(9).normal(detectable(0.4, n, comparisons), 0.4, (1500, n))
    low, _, _ = paired(d, comparisons, comparisons)
    assert abs(np.mean(low > 0) - 0.8) < 0.04


def test_seeds_needed():
    # the fewest that the exact test can use
    assert seeds_needed(10, 0.1) == 6 and seeds_needed(10, 0.1, 6) == 8
    for difference in (0.5, 0.3, 0.15):
        n = seeds_needed(difference, 0.4)
        assert detectable(0.4, n) <= difference < detectable(0.4, n - 1)
    for difference, sd in ((1e-6, 1), (math.nan, 1), (1, math.nan)):
        assert seeds_needed(difference, sd) is None


def test_power_text():
    six, ten = detectable(0.4, 6), detectable(0.4, 10)
    assert power_text(0.4, [6, 10]) == f"6 seeds: {six:.1f} points; 10: {ten:.1f}"


def test_spread_is_that_of_the_differences():
    values = {"a": {0: 1.0, 1: 2.0, 2: 4.0}, "b": {0: 1.0, 1: 1.0, 2: 1.0}, "c": {0: 1.0}}
    compared = compare(values, [("a", "b"), ("c", "b")])
    assert math.isclose(typical_spread(compared), np.std([0, 1, 3], ddof=1))
    assert math.isnan(typical_spread([]))
    assert [c.n for c in compared] == [3, 1] and compared[1].effect_text == "+0.00"


def test_prediction_interval():
    values = [1.0, 2.0, 4.0]
    s, half = summarise(values), stats.t.ppf(0.975, 2) * np.std(values, ddof=1) * math.sqrt(4 / 3)
    assert np.allclose(prediction_interval(values), (s.mean - half, s.mean + half))
    assert all(map(math.isnan, prediction_interval([3.0])))


def test_student_is_scipys():
    d = np.random.default_rng(0).normal(0.3, 1, (5, 4))
    test = stats.ttest_1samp(d, 0, axis=1)
    assert np.allclose(student(d), (*test.confidence_interval(), test.pvalue))


def test_holm_and_its_factors():
    rng = np.random.default_rng(0)
    for _ in range(2000):
        ps = np.round(rng.uniform(0, 0.1, rng.integers(1, 8)), 2).tolist()
        for p, corrected, factor in zip(ps, holm(ps), holm_factors(ps), strict=True):
            assert (factor * p <= LEVEL) == (corrected <= LEVEL), ps
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_verdicts_of_few_seeds():
    rng = np.random.default_rng(0)
    noise = {arm: dict(enumerate(rng.normal(88, 0.25, 10))) for arm in ("a", "b", "c")}
    noise["b"] = {seed: value + 1 for seed, value in noise["b"].items()}
    verdicts = {}
    for n in (2, 5, 6, 7, 10):
        few = {arm: {seed: values[seed] for seed in range(n)} for arm, values in noise.items()}
        verdicts[n] = [c.verdict for c in compare(few, [("b", "a"), ("c", "a")])]
    undecided = ["better (if normal)", "too few seeds"]  # 6 seeds, two comparisons: 2*2/2^6 = 0.06
    decided = ["better", "no difference shown"]
    few = ["too few seeds"] * 2
    assert verdicts == {2: few, 5: undecided, 6: undecided, 7: decided, 10: decided}
    compared = compare({"a": {0: 1.0, 1: 2.0}, "b": {1: 3.0}}, [("a", "b"), ("a", "c")])
    assert [c.n for c in compared] == [1, 0]
    assert [next(n for n in range(2, 20) if is_exact(n, m)) for m in (1, 6, 25)] == [6, 8, 10]


def test_values_that_are_no_numbers_are_named():
    for n in (3, 9):
        for function in (summarise, sign_flip, sign_flip_interval, paired, student):
            with pytest.raises(ValueError, match="value 1 is nan: leave failed runs out"):
                function([0.1, np.nan, *[0.3] * n])
    with pytest.raises(ValueError, match="expected one number or more"):
        summarise([])


def test_divergence_is_compared_as_a_rate():
    assert fisher((2, 0), (10, 10)) == pytest.approx(stats.fisher_exact([[2, 0], [8, 10]])[1])
    counts = {"calm": (0, 10), "wild": (8, 10), "some": (2, 10)}
    found = compare_rates(counts, [("wild", "calm"), ("some", "calm"), ("calm", "wild")])
    assert [c.verdict for c in found] == ["more often", "no difference shown", "less often"]
    assert found[0].corrected == pytest.approx(3 * found[0].p)
    assert fisher((0, 0), (0, 0)) == 1


@pytest.mark.parametrize(
    "seeds, of_seeds, of_images", [(10, 0.3, 0.0), (10, 0.0, 1.0), (6, 0.1, 0.5), (3, 0.1, 1.0)]
)
def test_interval_for_seeds_and_images_holds_the_truth(seeds, of_seeds, of_images):
    "Whatever differs: only seeds, only images, or both. The truth is 0: networks are drawn alike."
    rng, hits, rejected = np.random.default_rng(seeds), 0, 0
    for _ in range(400):
        easy = rng.normal(2, 2, 300)
        odds = easy + rng.normal(0, of_images, (2, 1, 300)) + rng.normal(0, of_seeds, (2, seeds, 1))
        right = rng.random((2, seeds, 300)) < 1 / (1 + np.exp(-odds))
        low, high, p = seeds_and_images(100.0 * right[0] - 100.0 * right[1])
        hits += low <= 0 <= high
        rejected += p <= 0.05
        assert (p <= 0.05) == (low > 0 or high < 0)
    assert 0.92 <= hits / 400 <= 0.995 and rejected == 400 - hits


def test_interval_for_seeds_and_images_of_what_does_not_vary():
    assert seeds_and_images(np.zeros((3, 5))) == (0, 0, 1)
    assert seeds_and_images(np.ones((3, 5))) == (1, 1, 0)
