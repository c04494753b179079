"""What exit codes and last words are taken to mean."""

import pytest

from components.train_folds.outcome import decisive, reason_of


@pytest.mark.parametrize(
    ("codes", "code"), [((0, 0), 0), ((1, -9), -9), ((-6, 2), 2), ((130, 1), 130), ((0, 1), 1), ((130, -9), -9)]
)
def test_the_code_that_tells_most_decides(codes, code):
    assert decisive(codes) == code


def test_a_reason_is_one_line_of_bearable_length():
    reason = reason_of(1, "Traceback\n" + "x" * 5000 + "\n\n")
    assert len(reason) == 600 and reason.endswith("…")
    assert reason_of(-99, "") == "killed by signal 99"
