import numpy as np

from nestor.agreement.holm import holm


def test_worked_example():
    # by hand: 0.01*4; then 0.02*3; then 0.03*2 is no smaller than its forerunner; 0.04 -> 0.06
    np.testing.assert_allclose(holm([0.04, 0.01, 0.03, 0.02]), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])


def test_caps_ties_shape_and_missing():
    np.testing.assert_allclose(holm([0.6, 0.9]), [1.0, 1.0])
    np.testing.assert_allclose(holm([0.02, 0.02, 0.02]), [0.06] * 3)
    assert holm(np.full((2, 3), 0.001)).shape == (2, 3)
    np.testing.assert_allclose(holm([np.nan, 0.01, 0.02]), [np.nan, 0.02, 0.02])
    assert holm([]).size == 0
    assert np.isnan(holm([np.nan])).all()
