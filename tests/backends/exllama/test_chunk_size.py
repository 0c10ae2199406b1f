"""The number of prompt tokens processed at once."""

import pytest

from paragone_exllama.engine import next_chunk


@pytest.mark.parametrize(
    ("tokens_a_second", "chunk"), [(1_000, 256), (10_000, 512), (30_000, 1792), (10**6, 2048)]
)
def test_a_chunk_takes_no_longer_than_a_stop_should(tokens_a_second, chunk):
    adapted = 512
    for _ in range(4):
        adapted = next_chunk(adapted, 2048, adapted, adapted / tokens_a_second)
    assert adapted == chunk
    assert chunk == 256 or chunk / tokens_a_second <= 0.06


def test_short_chunks_do_not_change_the_size():
    assert next_chunk(512, 2048, 10, 3.0) == next_chunk(512, 2048, 512, 0.0) == 512
