"""The check of the log density that was really sampled."""

import numpy as np
import pytest

from nestor import SamplerConfig, Verdict
from nestor.agreement.sampled import N_DRAWS, check_sampled_density
from nestor.session import compare

CONFIG = SamplerConfig(chains=2, warmup=10, draws=120)


@pytest.mark.usefixtures("fake_engines")
def test_a_density_without_its_jacobian_disagrees_after_sampling(small_problem):
    found = compare(small_problem, ["reporting", "jacobianless"], config=CONFIG)
    good, bad = found.rows
    assert good.sampled_density.same
    assert good.sampled_density.largest < 1e-12
    assert len(good.sampled_density.reference) == N_DRAWS
    assert bad.status == "density_failed"
    assert all(check.same for check in found.densities)  # the one before sampling saw nothing
    assert found.verdict is Verdict.DISAGREE
    assert "it sampled differs" in found.pairs[0].reasons[0]
    documents = found.to_dict()["engines"]
    assert [d["sampled_density"]["same"] for d in documents] == [True, False]


@pytest.mark.usefixtures("fake_engines")
def test_a_sampler_that_does_not_report_it_is_named(small_problem):
    found = compare(small_problem, ["exact", "exact2"], config=CONFIG)
    assert found.rows[0].sampled_density is None
    assert any("does not report" in note for note in found.pairs[0].notes)


@pytest.mark.parametrize("shape", [(4, 1000), (1, 7), (30, 2), (3, 7)])
def test_positions_are_spread_over_all_chains(shape):
    seen = []
    stats = {"lp": np.zeros(shape), "log_jacobian": np.zeros(shape)}
    where = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)

    def reference(point):
        seen.append(tuple(point["at"]))
        return 0.0

    check = check_sampled_density("x", "float64", {"at": where}, stats, reference)
    assert check.same
    assert len(seen) == min(N_DRAWS, shape[0] * shape[1])
    assert len({chain for chain, _ in seen}) == min(shape[0], len(seen))
