"Verdicts on results whose truth is known, every test of the vocabulary, counts that follow data."
import json
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from fmnist import claims
from fmnist.claims import (CLAIMS, DIRECTIONS, MEASURES, TESTS, Claim, Rules, by_network,
                           claims_data, corrections, effect_text, finding, findings, history, judge,
                           missing_commands, other_choices, over_all, plot_forest, sensitivity,
                           study_records, these_images, verdict_counts)
from fmnist.statistics import LEVEL
from fmnist.store import published_folder, read_records
from fmnist.studies import STUDIES
from fmnist.trials import Failure, Trial, attempt, data_name, pack_offsets, unpack_offsets

TRUTH = {"0.1": 88, "0.2": 88, "0.5": 87}


@pytest.fixture(scope="module")
def published():
    return by_network(read_records(published_folder()))


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    "Results of the dropout study whose accuracies vary by 0.2 points around some means."
    trial = Trial("chance", {}, epochs=1, data=data_name("sample"))
    guess = attempt(trial, tmp_path_factory.mktemp("runs"))

    def make(means, seeds=10):
        rng, trials = np.random.default_rng(0), STUDIES["dropout"].trials("full", range(seeds))
        results = {}
        for trial, mean in [(trial, mean) for name, mean in means.items()
                            for trial in trials[name]]:
            scores = replace(guess.scores, accuracy=rng.normal(mean, 0.2) / 100)
            results[trial.digest] = replace(guess, trial=trial, scores=scores)
        return by_network(results)

    return make


def claimed(test, *arms, **more):
    return Claim(test, "", "", "dropout", test, arms[:1], arms[1:], **more)


def arm_of(networks, name):
    "The records of an arm, to be changed."
    return networks[STUDIES["dropout"].trials("full", [0])[name][0].digest]


def lost(record):
    return Failure(record.trial, "diverged", "", 0, {}, "")


SOME = [claimed("lower", "0.5", "0.1"), claimed("higher", "0.5", "0.1"),
        claimed("higher", "0.2", "0.1"), claimed("alike", "0.2", "0.1"),
        claimed("no higher", "0.5", "0.1"), claimed("no higher", "0.1", "0.5"),
        *(claimed("one run", "0.1", value=value) for value in (88.0, 86.0, 90.0))]  # fmt: skip
VERDICTS = ["holds", "contradicted", "no difference shown", "holds", "holds", "contradicted",
            "holds", "exceeded", "contradicted"]  # fmt: skip


def test_known_truths_get_their_verdicts(made_up):
    assert [j.verdict for j in judge(made_up(TRUTH), SOME)] == VERDICTS
    few = ["not decidable" if verdict == "no difference shown" else verdict for verdict in VERDICTS]
    assert [j.verdict for j in judge(made_up(TRUTH, 5), SOME)] == few
    assert {j.verdict for j in judge(made_up(TRUTH, 2), SOME)} == {"not decidable"}
    assert {j.verdict for j in judge({}, SOME)} == {"not decidable"}
    assert {effect_text(j) for j in judge({}, SOME)} == {"no results"}


def test_missing_commands_train_only_what_is_needed(made_up):
    "Arms that have fewer runs than were planned, one command for each study that lacks some."
    command = "fmnist_run dropout --budget full --arms 0.5 0.1"
    assert missing_commands(judge({}, SOME)) == [f"{command} 0.2"]
    assert missing_commands(judge(made_up(TRUTH, 9), SOME[:1])) == [command]
    assert missing_commands(judge(made_up(TRUTH), SOME)) == []
    everything = missing_commands(judge({}))
    assert len(everything) == len({claim.study for claim in CLAIMS})
    assert everything[0] == "fmnist_run dropout --budget full"
    # 31 seeds of two arms are the registry's affair
    assert "fmnist_run activation --budget full" in everything


def test_numbers_in_whole_percents_may_be_off_by_half_a_point(made_up):
    rounded = [claimed("one run", "0.1", value=87.2, rounding=0.5)]
    assert judge(made_up(TRUTH), rounded)[0].verdict == "holds"
    assert judge(made_up(TRUTH), rounded, rules=Rules(rounding=False))[0].verdict == "exceeded"


def test_few_seeds_are_tentative(made_up):
    tentative = {seeds: {j.tentative for j in judge(made_up(TRUTH, seeds), SOME)}
                 for seeds in (2, 5, 10)}
    assert tentative == {2: {False}, 5: {True, False}, 10: {False}}
    # six seeds decide one claim exactly, but not six
    many = [replace(SOME[0], name=str(i)) for i in range(6)]
    verdicts = {n: {(j.verdict, j.tentative) for j in judge(made_up(TRUTH, n), many)}
                for n in (5, 6, 8)}
    assert verdicts == {5: {("holds", True)}, 6: {("holds", True)}, 8: {("holds", False)}}
    without = judge(made_up(TRUTH, 5), SOME, rules=Rules(student=False))
    assert {j.verdict for j in without} == {"not decidable"}


def test_verdict_interval_and_p_of_every_published_difference_agree(published):
    for j in judge(published):
        if j.claim.test in DIRECTIONS:
            decided = j.verdict in ("holds", "contradicted")
            assert (j.p <= LEVEL) == (j.low > 0 or j.high < 0) == decided, j


def test_divergence_is_an_outcome_of_its_own(made_up):
    half = made_up(TRUTH)
    records = arm_of(half, "0.2")
    for seed in range(0, 10, 2):
        records[seed] = lost(records[seed])
    often = claimed("diverges more often", "0.2", "0.1", measure="runs that diverge")
    accuracy, rate = judge(half, [SOME[2], often])
    assert len(accuracy.effects) == 5 and abs(accuracy.effect) < 0.5  # no run counts as 10 %
    assert rate.diverged == (5, 0) and rate.runs == 10 and rate.verdict == "holds"
    assert effect_text(rate).startswith("5 of 10 against 0 of 10 runs, p = 0.03")
    pooled = replace(rate.claim, arms=("0.2", "0.5"))
    [j] = judge(half, [pooled])
    assert (j.diverged, j.sides, j.verdict) == ((5, 0), (20, 10), "no difference shown")
    older = judge(half, [SOME[2]], rules=Rules(diverged=10.0))[0]
    assert math.isclose(older.effect, (10 - 88) / 2, abs_tol=1)
    few = made_up(TRUTH, 3)
    assert judge(few, [rate.claim])[0].verdict == "not decidable"  # not even if all had diverged


def test_precisions_and_validation_are_marked(made_up):
    networks = made_up(TRUTH, 3)
    for seed, record in arm_of(networks, "0.5").items():
        precision = "bfloat16" if seed else record.precision
        arm_of(networks, "0.5")[seed] = replace(record, precision=precision)
    assert [j.mixed for j in judge(networks, SOME[:3])] == [2, 2, 0]
    networks = made_up(TRUTH)
    for name, accuracy in (("0.5", 0.9), ("0.1", 0.8)):
        for seed, record in arm_of(networks, name).items():
            arm_of(networks, name)[seed] = replace(record, valid=accuracy)
    j = judge(networks, SOME[:1])[0]
    assert j.verdict == "holds" and j.disagrees and math.isclose(j.validation, 10)


def test_claims_are_well_formed():
    for claim in CLAIMS:
        arms = STUDIES[claim.study].arms
        assert set(claim.arms) | set(claim.than) <= set(arms) and claim.test in TESTS, claim.name
        needs_no_measure = claim.test in ("diverges more often", *claims.COUNTS)
        assert claim.measure in MEASURES or needs_no_measure, claim.name
        total = sum(claim.weights.values())
        assert math.isclose(total, claim.test == "one run", abs_tol=1e-12), claim.name
        assert claim.effect and claim.rule and claim.words and claim.where
    assert len({claim.name for claim in CLAIMS}) == len(CLAIMS)
    differences = Counter(claim.study for claim in CLAIMS if claim.test in DIRECTIONS)
    # ten seeds must be able to decide
    assert all(number * 2 ** (1 - 10) <= LEVEL for number in differences.values())


def test_slopes_are_least_squares():
    [slope] = [claim for claim in CLAIMS if claim.test == "falls"]
    y = np.random.default_rng(0).normal(size=5)
    weights = [slope.weights[arm] for arm in slope.arms]
    assert math.isclose(np.dot(weights, y), np.polyfit(range(5), y, 1)[0])


def test_the_same_networks_are_one_finding():
    by_name = {claim.name: claim for claim in CLAIMS}
    same = {finding(by_name[name]) for name in
            ("The best CNN reaches 92.6 %", "The best CNN's recall is 93 %",
             "Max pooling: test accuracy 92.5 %")}
    assert len(same) == 1 and len(set(map(finding, CLAIMS))) < len(CLAIMS)
    assert finding(by_name["GELU beats ReLU"]) != finding(by_name["GELU and ReLU are alike"])


def test_a_57th_claim_changes_what_is_counted(published, monkeypatch):
    before = judge(published)
    more = [*CLAIMS, replace(CLAIMS[0], name="one more", arms=("0.05",), than=("0.5",))]
    monkeypatch.setattr(claims, "CLAIMS", more)
    after = judge(published)
    assert len(after) == len(before) + 1 and len(findings(after)) == len(findings(before)) + 1
    assert verdict_counts(after) != verdict_counts(before)


def test_counts_need_no_results():
    decided = [j for j in judge({}) if j.verdict != "not decidable"]
    verdicts = [(j.claim.test, j.verdict) for j in decided]
    assert verdicts == [("computes more", "holds"), ("stores more", "contradicted")]
    assert plot_forest(judge({})) is None


def test_margin_and_older_rules(published):
    today = {j.claim.name: j.verdict for j in judge(published)}
    for name, verdicts in sensitivity(published, (0.25, 0.5, 1.0)):
        assert verdicts[1] == today[name] and len(set(verdicts)) > 1
    entries = history(published)
    dates = [entry["date"] for entry in entries]
    assert len(entries) == len(claims_data()["history"]) and dates == sorted(dates)
    for entry in entries:
        assert not entry["changes"] or "rules" in entry
        assert all(now == today[name] and then != now for name, then, now in entry["changes"])


def test_every_sentence_of_the_data_finds_its_numbers(published):
    for networks in (published, {}):
        found = corrections(networks)
        assert len(found) == len(claims_data()["corrections"])
        for c in found:
            text = " ".join((c.says, c.where, c.right, c.evidence))
            assert "nan" not in text and "None" not in text and "{" not in text
    layers = claims.facts({})["layers"]
    assert layers == sorted(layers)  # "each larger than the one before"


def test_records_of_a_newer_version_are_left_out(published):
    record = next(iter(next(iter(published.values())).values()))
    assert by_network({"0123456789ab": record}) == {}
    assert len(study_records(STUDIES["dropout"], published)["0.01"]) == 31


def test_the_data_are_readable():
    path = claims.files("fmnist") / "claims.json"
    parts = set(json.loads(path.read_text(encoding="utf-8")))
    assert parts == {"claims", "untested", "corrections", "history"}


@pytest.fixture(scope="module")
def with_predictions(tmp_path_factory):
    "Ten runs of two arms of the dropout study, each right on its own share of each kind of image."
    trial = Trial("chance", {}, epochs=1, data=data_name("sample"))
    guess = attempt(trial, tmp_path_factory.mktemp("runs"))
    labels = np.arange(10_000) % 10

    def make(first, second):
        "Each is a function from a generator to what it is right on, 10,000 truth values."
        rng, found = np.random.default_rng(0), {}
        for name, right in (("0.5", first), ("0.1", second)):
            for trial in STUDIES["dropout"].trials("full", range(10))[name]:
                hits = right(rng)
                answers = np.where(hits, labels, (labels + 1) % 10)
                offsets = pack_offsets(labels, np.eye(10)[answers])
                scores = replace(guess.scores, accuracy=hits.mean())
                found[trial.digest] = replace(guess, trial=trial, scores=scores, offsets=offsets)
        return by_network(found)

    return make


def test_other_images_can_take_a_verdict_back(with_predictions):
    "Two images that one network always gets right say little of others; five hundred of them do."
    def right_on(images, share=0.9):
        def draw(rng):
            hits = np.arange(10_000) < 8500
            hits[8500:8500 + images] = rng.random(images) < share
            return hits
        return draw

    lower = SOME[0]  # dropout 0.5 against 0.1
    [j] = judge(with_predictions(right_on(0), right_on(2)), [lower])
    assert j.verdict == "holds" and these_images(j) and j.images[0] < 0 < j.images[1]
    [j] = judge(with_predictions(right_on(0), right_on(500)), [lower])
    assert j.verdict == "holds" and not these_images(j) and j.images[1] < 0 and j.images[2] <= LEVEL
    alike = claimed("alike", "0.5", "0.1")
    [j] = judge(with_predictions(right_on(4), right_on(0)), [alike])
    assert j.verdict == "holds" and not these_images(j)
    networks = with_predictions(right_on(0), right_on(500))
    first = arm_of(networks, "0.5")
    first[0] = replace(first[0], offsets=None)
    assert judge(networks, [lower])[0].images == ()  # not of nine of ten seeds


def test_published_lines_say_what_was_answered_to_each_image():
    "Which of the 10,000 it was right on, and how many it took for another class, as in its table."
    records = read_records(published_folder()).values()
    known = [record for record in records if getattr(record, "offsets", None)]
    assert len(known) >= 400
    for record in known:
        offsets = unpack_offsets(record.offsets)
        assert len(offsets) == 10_000
        assert np.mean(offsets == 0) == pytest.approx(record.scores.accuracy)


def test_a_verdict_that_turns_with_a_choice_says_so(made_up):
    "Batches of 128 and 256 of the baseline, of which the original's number holds or not."
    study = STUDIES["batch_size"]
    [claim] = [claim for claim in CLAIMS if claim.name == "The baseline reaches 86.92 %"]
    example = next(iter(arm_of(made_up(TRUTH), "0.1").values()))

    def networks(**means):
        rng, found = np.random.default_rng(0), {}
        for name, trials in study.trials("full").items():
            for trial in trials if name in means else ():
                accuracy = rng.normal(means[name], 0.2) / 100
                scores = replace(example.scores, accuracy=accuracy)
                found[trial.digest] = replace(example, trial=trial, scores=scores)
        return by_network(found)

    [j] = judge(networks(**{"64": 88.3}), [claim])
    assert j.verdict == "exceeded" and j.turns == ()
    found = other_choices(networks(**{"64": 88.3}), [claim])[claim.name]
    assert found == {"the batch size": {128: "missing", 256: "missing"},
                     "the scale of random weights": {0.05: "missing", 0.01: "missing"}}
    [j] = judge(networks(**{"64": 88.3, "128": 88.2}), [claim])
    assert j.turns == ()
    [j] = judge(networks(**{"64": 88.3, "128": 87.0, "256": 86.0}), [claim])
    assert j.verdict == "exceeded" and j.turns == ("the batch size",)
    asked = {name for name, choices in other_choices({}).items() if "the batch size" in choices}
    assert {"Random beats Glorot", "The baseline reaches 86.92 %",
            "The best MLP reaches 87.40 %"} <= asked
    assert "Dropout 0.5 costs accuracy" not in asked


def test_correction_over_the_page_is_stricter(published):
    judgements = judge(published)
    for j, p in zip(judgements, over_all(judgements), strict=True):
        assert math.isnan(j.p) == math.isnan(p) and not p < j.p - 1e-12
