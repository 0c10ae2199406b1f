"""How many prompt tokens are processed at once."""

import pytest

from paragone_exllama.pace import Pace


@pytest.mark.parametrize(
    ("tokens_a_second", "chunk"), [(1_000, 256), (10_000, 512), (30_000, 1792), (10**6, 2048)]
)
def test_a_chunk_takes_no_longer_than_a_stop_may_wait(tokens_a_second, chunk):
    pace = Pace(2048, fixed=False)
    assert pace.chunk == 512
    for _ in range(4):
        pace.learn(pace.chunk, pace.chunk / tokens_a_second)
    assert pace.chunk == chunk
    assert chunk == 256 or chunk / tokens_a_second <= 0.06


def test_little_is_learned_from_little():
    pace = Pace(2048, fixed=False)
    pace.learn(10, 3.0)
    pace.learn(512, 0.0)
    assert pace.chunk == 512
    assert Pace(256, fixed=False).chunk == 256


def test_a_chunk_that_the_user_chose_stays():
    pace = Pace(1024, fixed=True)
    pace.learn(1024, 9.0)
    assert pace.chunk == 1024
