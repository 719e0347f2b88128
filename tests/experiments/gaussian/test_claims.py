"""How differences over seeds decide the claims of the Gaussian studies."""
import numpy as np
import pytest

from inverse_matching.experiments.gaussian import claims
from inverse_matching.experiments.verdicts import Claim

ABOVE = 1.0 + 0.1 * np.arange(8)  # of 8 seeds that agree, the least p is 2 / 2^8
ALTERNATING = ABOVE * np.tile([1, -1], 4)


def made(differences, expected=1, text='test'):
  return claims._Test('3.2', text, 'number', {'I': np.asarray(differences)}, expected)


@pytest.mark.parametrize('differences,expected,verdict', [
    (ABOVE, 1, 'agrees'), (-ABOVE, 1, 'disagrees'), (-ABOVE, -1, 'agrees'), (ABOVE, -1, 'disagrees'),
    (ALTERNATING, 1, 'not decided')])
def test_a_test_agrees_where_the_differences_have_the_expected_sign(differences, expected, verdict):
  found, = claims._decide([made(differences, expected)])
  assert found.verdict == verdict and f'over 8 seeds {differences.mean():+.2g} (median' in found.number


def test_more_tests_ask_for_more():
  """2 / 2^8 is below 0.05 six times over, and not seven times: Holm's correction is over all tests."""
  for num_tests, verdict in ((6, 'agrees'), (7, 'not decided')):
    found = claims._decide([made(ABOVE)] * num_tests)
    assert [claim.verdict for claim in found] == [verdict] * num_tests
    assert all(f'p = {num_tests * 2 / 2**8:.2g}' in claim.number for claim in found)


def test_every_test_has_its_own_p_value_among_the_claims():
  """In the order given; a claim stays what it is."""
  claim = Claim('3.1', 'claim', 'number', 'agrees in part')
  found = claims._decide([made(ALTERNATING, text='open'), claim, made(-ABOVE, text='below'), made(ABOVE, text='above')])
  assert [(each.text, each.verdict) for each in found] == [
      ('open', 'not decided'), ('claim', 'agrees in part'), ('below', 'disagrees'), ('above', 'agrees')]
  assert found[1] is claim


def test_what_depends_on_the_start_is_not_decided():
  """The paper does not give the initial R: of one sign from every start, and each with a small p-value."""
  decide = lambda **differences: claims._decide([claims._Test('3.2', 'text', 'number', differences)])[0]
  assert decide(I=ABOVE, other=2 * ABOVE).verdict == 'agrees'
  assert decide(I=-ABOVE, other=-2 * ABOVE).verdict == 'disagrees'
  opposite, unclear = decide(I=ABOVE, other=-ABOVE), decide(I=ABOVE, other=0.01 + ALTERNATING)
  assert opposite.verdict == 'not decided' and opposite.number.endswith('p = 1')
  assert unclear.verdict == 'not decided'
