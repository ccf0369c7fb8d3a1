"""One score of a speaker verifier and a countermeasure for the decision that has to refuse impostors and spoofs."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from deepfake.metrics.dcf import C_FA, C_MISS, P_SPOOF
from deepfake.metrics.trials import Floats

P_NONTARGET = 0.0095  # of ASVspoof 5, as all defaults here


def sasv_llr(
    speaker: ArrayLike, spoofing: ArrayLike, *, p_nontarget: float = P_NONTARGET, p_spoof: float = P_SPOOF
) -> Floats:
    """Log-likelihood ratio of the claimed speaker's bona fide speech against what is to be refused.

    Of the likelihood ratios `a` of the speaker against others and `b` of bona fide speech against spoofs it is
    `-ln((p_nontarget e^-a + p_spoof e^-b) / (p_nontarget + p_spoof))` (Wang, Kinnunen, Lee, Noé and Yamagishi 2024,
    "Revisiting and improving scoring fusion for spoofing-aware speaker verification using compositional data
    analysis"). A spoof is assumed to sound as the claimed speaker does, and an impostor to speak as bona fide as he.

    Args:
        speaker: Calibrated natural-log LLRs `[N]` of the speaker verifier.
        spoofing: Those `[N]` of the countermeasure.
        p_nontarget: Prior of impostors, both false alarms costing the same.
        p_spoof: Prior of spoofs.

    >>> sasv_llr([9.0, 9.0, -9.0], [9.0, -9.0, 9.0]).round(2)
    array([ 9.  , -8.83, -7.17])
    """
    total = p_nontarget + p_spoof
    return -np.logaddexp(np.log(p_nontarget / total) - np.asarray(speaker), np.log(p_spoof / total) - spoofing)


def sasv_threshold(
    *, p_nontarget: float = P_NONTARGET, p_spoof: float = P_SPOOF, c_miss: float = C_MISS, c_fa: float = C_FA
) -> float:
    """The threshold of `sasv_llr` at which the expected cost of the a-DCF is least, if the LLRs are what they claim.

    >>> round(sasv_threshold(), 4)
    -0.4579
    """
    return float(np.log(c_fa * (p_nontarget + p_spoof) / (c_miss * (1 - p_nontarget - p_spoof))))
